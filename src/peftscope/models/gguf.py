"""GGUF files: converted once into a safetensors folder that loads like any other."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from peftscope.errors import ModelError
from peftscope.models.cache import build_once, cache_dir
from peftscope.models.quiet import no_progress_bars
from peftscope.models.weights import remembered_sha256

__all__ = ["convert_gguf"]

CONVERSION = "float32-v1"
"""Part of the cache key; raised when the same file would be converted differently than before."""


def convert_gguf(path: Path) -> Path:
    """Folder with a GGUF file's model and tokenizer, converted at the first call and cached by content.

    Weights are kept in float32: a quantized block is a 16-bit scale times a small integer plus an offset,
    which float32 holds exactly and the 16-bit types don't. ``load`` casts to the dtype asked for.

    Raises:
        ModelError: The file cannot be read, or its architecture is unknown to ``transformers``.
        StoreError: The cache cannot be written.
    """
    folder = cache_dir() / "gguf" / f"{remembered_sha256(path)[:20]}-{CONVERSION}"
    return build_once(folder, partial(_convert, path))


def _convert(path: Path, folder: Path) -> None:
    try:
        with no_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
            model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    except (ValueError, KeyError, IndexError, RuntimeError, ImportError, NotImplementedError) as error:
        raise ModelError(f"model {str(path)!r} is not a GGUF file transformers can read: {error}") from error
    # The weights are dequantized, but transformers still calls the model quantized and would not save it.
    model.hf_quantizer = None
    del model.config.quantization_config
    with no_progress_bars():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
