"""Causal language models: loading, greedy decoding, decode latency, shapes."""
