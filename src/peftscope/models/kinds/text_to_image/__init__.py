"""Diffusion transformers that draw images from text: their shapes and their loss."""
