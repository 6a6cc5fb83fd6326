"""Base models: finding, loading and hashing them, quantized or not."""
