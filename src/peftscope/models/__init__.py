"""Base models: finding, loading and hashing them, quantized or not; decoding text, timing a decode step."""
