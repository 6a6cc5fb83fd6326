"""GGUF files: converted into a safetensors folder that loads like any other, and written with other weights in them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, Keys, LlamaFileType
from gguf.quants import dequantize, quantize
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.pytorch_utils import Conv1D

from peftscope.errors import ModelError
from peftscope.models.cache import build_once, cache_dir
from peftscope.models.gguf_layout import GgufLayout, gguf_layout
from peftscope.models.quiet import no_progress_bars
from peftscope.models.weights import remembered_sha256

__all__ = ["convert_gguf", "unpack_gguf", "write_gguf"]

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
    return build_once(folder, partial(unpack_gguf, path))


def unpack_gguf(path: Path, folder: Path) -> None:
    """Fill a folder with the model and the tokenizer of a GGUF file.

    Raises:
        ModelError: The file cannot be read, or its architecture is unknown to ``transformers``.
    """
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


TYPES = {
    torch.float32: (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    torch.bfloat16: (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    torch.float16: (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
}
"""How weights are written, by the model's own type; vectors are float32 throughout, as llama.cpp wants them."""
OF_WEIGHTS = (Keys.General.ARCHITECTURE, Keys.General.FILE_TYPE, Keys.General.QUANTIZATION_VERSION)
"""What a file says of its weights, beside the model's settings and its vocabulary."""


def write_gguf(model: Any, source: Path, path: Path) -> None:
    """Write a model whole: settings and vocabulary of the GGUF file it was made from, its own weights, not quantized.

    Args:
        model: Of ``transformers``.
        source: GGUF file of the base.
        path: File that is made.

    Raises:
        ModelError: llama.cpp's layout of such a model is not known.
    """
    layout = gguf_layout(model.config)
    reader = GGUFReader(source)
    matrix_type, file_type = TYPES[model.dtype]
    types = [matrix_type if len(of.shape) > 1 else GGMLQuantizationType.F32 for of in reader.tensors]
    writer = GGUFWriter(path, layout.architecture)
    _copy_settings(reader, writer)
    writer.add_file_type(file_type)
    for of, kind in zip(reader.tensors, types, strict=True):
        shape = tuple(int(size) for size in reversed(of.shape))
        size = 2 if kind != GGMLQuantizationType.F32 else 4
        writer.add_tensor_info(of.name, shape, np.dtype(np.float32), size * int(np.prod(shape)), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    weights = dict(_weights(model, layout))
    for of, kind in zip(reader.tensors, types, strict=True):
        value = weights.get(of.name)
        if value is None:  # what transformers works out by itself, such as factors of rotations
            held = dequantize(of.data, of.tensor_type)
        else:
            held = layout.stored(of.name.rpartition(".")[0], value.detach().float().cpu()).contiguous().numpy()
        writer.write_tensor_data(quantize(held, kind))
    writer.close()


def _weights(model: Any, layout: GgufLayout) -> Iterator[tuple[str, torch.Tensor]]:
    """Weights by their names in the file; those of transformers' Conv1D turned round."""
    modules = dict(model.named_modules())
    for full, weight in model.named_parameters():
        module, _, parameter = full.rpartition(".")
        turned = isinstance(modules[module], Conv1D) and parameter == "weight"
        yield f"{layout.name(module)}.{parameter}", weight.T if turned else weight


def _copy_settings(reader: GGUFReader, writer: GGUFWriter) -> None:
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in OF_WEIGHTS:
            continue
        kind, value = field.types[0], field.contents()
        if field.name == Keys.General.ALIGNMENT:
            writer.add_custom_alignment(value)
        elif kind != GGUFValueType.ARRAY:
            writer.add_key_value(field.name, value, kind)
        elif value:  # an empty one is not written
            writer.add_key_value(field.name, value, kind, sub_type=field.types[-1])
