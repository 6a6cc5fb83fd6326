"""Adapters of any method -> LoRA, checked against the original."""
