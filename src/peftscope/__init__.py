"""Find the PEFT technique that is best for your model, your data and your limits."""

__version__ = "0.1.0"
