"""Quantized loading: what the user asked for as a config of ``transformers``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from inspect import signature
from typing import Any, Literal

import torch
from transformers import BitsAndBytesConfig
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AutoQuantizationConfig

from peftscope.errors import MissingExtra, ModelError, unknown_name

__all__ = ["hush_casts", "keep_trainable", "quantization_config", "quantization_kind"]

BITSANDBYTES = "bitsandbytes"


def quantization_config(asked: Literal["int8", "nf4"] | Mapping[str, Any] | None, dtype: torch.dtype) -> Any | None:
    """The config ``from_pretrained`` takes; None where nothing was asked for.

    ``nf4`` also quantizes the scales, as QLoRA (https://arxiv.org/abs/2305.14314, §3) does.

    Args:
        asked: As in ``ModelSpec.quantization``.
        dtype: What the quantized layers compute in.

    Raises:
        ModelError: The mapping names no known method, or has settings that method does not know.
        MissingExtra: bitsandbytes is not installed.
    """
    if asked is None:
        return None
    if asked == "int8":
        _need_bitsandbytes("int8")
        return BitsAndBytesConfig(load_in_8bit=True)
    if asked == "nf4":
        _need_bitsandbytes("nf4")
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    assert isinstance(asked, Mapping), "ModelSpec lets nothing else through"
    return _from_mapping(asked)


def quantization_kind(model: Any) -> str | None:
    """How a loaded model is quantized: ``int8``, ``nf4``, the method's name, or None."""
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    settings = config if isinstance(config, dict) else config.to_dict()
    if settings.get("load_in_8bit"):
        return "int8"
    if settings.get("load_in_4bit"):
        return str(settings.get("bnb_4bit_quant_type", "fp4"))
    method = settings.get("quant_method")
    return str(getattr(method, "value", method))


def keep_trainable(model: Any) -> None:
    """Have 4-bit layers on a CPU keep the layout that gradients pass through.

    On CPUs with AVX512-BF16 bitsandbytes repacks them in the first pass in ``eval`` mode, for good, and what is trained
    after that (from a validation on) gets gradients that stop at every such layer.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def hush_casts() -> None:
    """Drop a line bitsandbytes logs in every 8-bit layer of every step, unless the model is in float16."""
    logging.getLogger("bitsandbytes.autograd._functions").addFilter(_says_no_cast)


def _says_no_cast(record: logging.LogRecord) -> bool:
    return "inputs will be cast" not in str(record.msg)


def _from_mapping(asked: Mapping[str, Any]) -> Any:
    settings = dict(asked)
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        settings["quant_method"] = BITSANDBYTES
    method = settings.get("quant_method")
    methods = {name for name in AUTO_QUANTIZATION_CONFIG_MAPPING if not name.startswith(BITSANDBYTES)} - {"gguf"}
    methods.add(BITSANDBYTES)
    if method not in methods:
        raise ModelError(f"model.quantization.quant_method: {unknown_name('method', str(method), methods)}")
    if method == BITSANDBYTES:
        _check_bitsandbytes(settings)
    try:
        return AutoQuantizationConfig.from_dict(settings)
    except (TypeError, ValueError, ImportError, NotImplementedError) as error:
        raise ModelError(f"model.quantization: {method} does not take these settings: {error}") from error


def _check_bitsandbytes(settings: Mapping[str, Any]) -> None:
    _need_bitsandbytes("this quantization")
    if not (settings.get("load_in_4bit") or settings.get("load_in_8bit")):
        raise ModelError("model.quantization: bitsandbytes needs load_in_4bit: true or load_in_8bit: true")
    # BitsAndBytesConfig logs and forgets what it does not know; a typing error would go unnoticed.
    known = {*signature(BitsAndBytesConfig).parameters, "quant_method"} - {"kwargs"}
    for name in settings:
        if name not in known:
            raise ModelError(f"model.quantization: {unknown_name('setting', name, known)}")


def _need_bitsandbytes(what: str) -> None:
    if find_spec(BITSANDBYTES) is None:
        raise MissingExtra(BITSANDBYTES, "quantized", f"model.quantization: {what}")
