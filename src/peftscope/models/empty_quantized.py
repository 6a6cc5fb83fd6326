"""Quantized bases without weights: the layers bitsandbytes would make, with its packed shapes on ``meta``."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from transformers import PreTrainedModel
from transformers.quantizers.auto import AutoHfQuantizer

from peftscope.models.quantization import hush_casts, quantization_config

__all__ = ["quantize_empty"]

BLOCK, NESTED_BLOCK, CODE, NESTED_CODE = 64, 256, 16, 256
"""Weights to a scale, scales to a scale of theirs, and values in the tables of both (bitsandbytes' own)."""


def quantize_empty(model: PreTrainedModel, kind: Literal["nf4", "int8"], dtype: torch.dtype) -> None:
    """Turn a model on ``meta`` into what ``from_pretrained`` makes of it with a quantization; in place.

    The 8-bit layers are taken to have no outliers, which bitsandbytes would compute in 16 bit.

    Args:
        model: From ``empty_model``, still in full.
        kind: As in ``ModelSpec.quantization``.
        dtype: What quantized layers compute in.

    Raises:
        MissingExtra: bitsandbytes is not installed.
    """
    config = quantization_config(kind, dtype)
    quantizer = AutoHfQuantizer.from_config(config, pre_quantized=False)
    quantizer._process_model_before_weight_loading(model, device_map=None)
    model.config.quantization_config = config
    quantizer._process_model_after_weight_loading(model)
    hush_casts()
    import bitsandbytes as bnb

    for module in model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            _pack_4bit(module, dtype)
        elif isinstance(module, bnb.nn.Linear8bitLt):
            _pack_8bit(module)


def _pack_4bit(layer: Any, dtype: torch.dtype) -> None:
    """Two weights to a byte, with scales that are quantized themselves."""
    import bitsandbytes as bnb

    shape = layer.weight.shape
    blocks = math.ceil(shape.numel() / BLOCK)

    def numbers(*sizes: int) -> torch.Tensor:
        return torch.empty(sizes, dtype=torch.float32, device="meta")

    nested = bnb.functional.QuantState(
        absmax=numbers(math.ceil(blocks / NESTED_BLOCK)),
        code=numbers(NESTED_CODE),
        blocksize=NESTED_BLOCK,
        dtype=torch.float32,
    )
    state = bnb.functional.QuantState(
        absmax=torch.empty(blocks, dtype=torch.uint8, device="meta"),
        shape=shape,
        code=numbers(CODE),
        blocksize=BLOCK,
        quant_type=layer.weight.quant_type,
        dtype=dtype,
        offset=numbers(),
        state2=nested,
    )
    packed = torch.empty(math.ceil(shape.numel() / 2), 1, dtype=torch.uint8, device="meta")
    layer.weight = bnb.nn.Params4bit(
        packed,
        quant_state=state,
        blocksize=BLOCK,
        compress_statistics=True,
        quant_type=layer.weight.quant_type,
        bnb_quantized=True,
        module=layer,
    )
    layer.quant_state = state


def _pack_8bit(layer: Any) -> None:
    """A byte to a weight, and a scale to a row."""
    import bitsandbytes as bnb

    packed = torch.empty(layer.weight.shape, dtype=torch.int8, device="meta")
    scales = torch.empty(layer.weight.shape[0], dtype=torch.float32, device="meta")
    layer.weight = bnb.nn.Int8Params(packed, requires_grad=False, has_fp16_weights=False, CB=packed, SCB=scales)
    layer.state.threshold = 0.0
