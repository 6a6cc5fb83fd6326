"""What the files of a model are called."""

from __future__ import annotations

__all__ = ["MODEL_FILES"]

MODEL_FILES = (
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "model.gguf",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.jinja",
    "*.tiktoken",
)
"""Files of a whole language model, by what they are always called; whatever else lies beside them is none."""
