"""Checkpoints that are published quantized: what their configs tell of the sizes of packed weights.

mxfp4 packs experts alone, into 4 bits with a scale of 8 bits to 32 weights; the others pack the linear layers and the
experts of the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import regex
from torch import nn

from peftscope.errors import ModelError, brief
from peftscope.methods.coverage import fused_experts

__all__ = ["PublishedFormat", "format_of", "published_format"]

MXFP4_BITS = 4 + 8 / 32
MOST_BITS = 64
SCALE_BITS = 16
"""Of a scale, and in GPTQ and AWQ beside it a zero point as wide as a weight."""
DEFAULT_GROUP = 128
SKIPPED = ("modules_to_not_convert", "ignored_layers", "ignore")
"""Names under which formats list what they leave as it is."""
MOST_SKIPPED = 10_000
PATTERN_TIMEOUT_S = 0.1
"""For a pattern on a name; one that takes longer never ends."""


@dataclass(frozen=True, kw_only=True)
class PublishedFormat:
    """How a checkpoint's weights are packed."""

    name: str
    """Of the format: ``mxfp4``, ``fp8``, …"""
    bits: float | None
    """A packed weight takes with its share of scales; None where the config does not tell."""
    skipped: tuple[str, ...] = ()
    """What is not packed: names, parts of names, or after ``re:`` patterns."""
    only_experts: bool = False

    def packed_bytes(self, model: nn.Module) -> int | None:
        """Bytes of all of a model's weights, packed as published.

        Args:
            model: In full, with or without values; what is not packed has the type it has there.
        """
        if self.bits is None:
            return None
        get_head = getattr(model, "get_output_embeddings", None)
        head = get_head() if callable(get_head) else None
        experts = frozenset(fused_experts(model))
        total = 0.0
        for name, module in model.named_modules():
            for own, parameter in module.named_parameters(recurse=False):
                is_expert = f"{name}.{own}" in experts
                is_layer = isinstance(module, nn.Linear) and own == "weight" and not self.only_experts
                is_packed = (is_expert or is_layer) and module is not head and not self._skips(name)
                total += parameter.numel() * (self.bits / 8 if is_packed else parameter.element_size())
        return int(total)

    def _skips(self, name: str) -> bool:
        return any(_matches(name, pattern) for pattern in self.skipped)


def published_format(config: Any) -> PublishedFormat | None:
    """The format of a config's checkpoint; None where it is not quantized.

    Args:
        config: As transformers holds it.

    Raises:
        ModelError: Its ``quantization_config`` is none that can be read.
    """
    return format_of(getattr(config, "quantization_config", None))


def format_of(settings: Any) -> PublishedFormat | None:
    """The format that a ``quantization_config`` says; None where it says none.

    Args:
        settings: As it is written, or as transformers holds it.

    Raises:
        ModelError: It is none that can be read.
    """
    if not settings:
        return None
    as_mapping = getattr(settings, "to_dict", None)
    values = as_mapping() if callable(as_mapping) else settings
    if not isinstance(values, Mapping):
        raise ModelError(f"quantization_config: a mapping is wanted, not {brief(repr(values), 60)}")
    method = values.get("quant_method")
    name = brief(str(getattr(method, "value", method)), 60)
    bits_of = BITS.get(name)
    try:
        bits = None if bits_of is None else bits_of(values)
        bits = None if bits is None or not 0 < bits <= MOST_BITS else float(bits)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise ModelError(
            f"quantization_config: the sizes it gives of {name} are not what they are there: {error}"
        ) from error
    return PublishedFormat(name=name, bits=bits, skipped=_skipped(values), only_experts=name == "mxfp4")


def _skipped(values: Mapping[str, Any]) -> tuple[str, ...]:
    """What is listed as left as it is."""
    lists = {key: values.get(key) or () for key in SKIPPED}
    for key, listed in lists.items():
        if not isinstance(listed, list | tuple) or not all(isinstance(entry, str) for entry in listed):
            raise ModelError(f"quantization_config: {key}: a list of names is wanted, not {brief(repr(listed), 60)}")
    found = tuple(pattern for listed in lists.values() for pattern in listed)
    if len(found) > MOST_SKIPPED:
        raise ModelError(
            f"quantization_config: leaves out {len(found):,} names; no format has more than {MOST_SKIPPED:,}"
        )
    return found


def _matches(name: str, pattern: str) -> bool:
    if pattern.startswith("re:"):
        try:
            return regex.search(pattern[3:], name, timeout=PATTERN_TIMEOUT_S) is not None
        except (regex.error, TimeoutError) as error:
            raise ModelError(
                f"quantization_config: {brief(pattern, 60)!r} is no pattern to look for: {error}"
            ) from error
    return (
        name == pattern
        or name.endswith(f".{pattern}")
        or fnmatchcase(name, pattern)
        or fnmatchcase(name, f"{pattern}.*")
    )


def _grouped(bits: str, group: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Bits of formats with a scale and a zero point to a group of weights."""

    def of(values: Mapping[str, Any]) -> float | None:
        width = values.get(bits)
        size = values.get(group) or DEFAULT_GROUP
        return None if width is None else width + ((SCALE_BITS + width) / size if size > 0 else 0.0)

    return of


def _fp8(values: Mapping[str, Any]) -> float:
    block = values.get("weight_block_size")
    return 8 + (32 / (block[0] * block[1]) if block else 0.0)


def _compressed(values: Mapping[str, Any]) -> float | None:
    """compressed-tensors lists groups of layers; those of the first one are meant for all."""
    groups = list((values.get("config_groups") or {}).values())
    weights = (groups[0].get("weights") or {}) if groups else {}
    width, size = weights.get("num_bits"), weights.get("group_size")
    return None if width is None else width + (SCALE_BITS / size if size and size > 0 else 0.0)


def _bitsandbytes(values: Mapping[str, Any]) -> float | None:
    if values.get("load_in_8bit"):
        return 8.0
    scales = 8 / 64 + 32 / (64 * 256) if values.get("bnb_4bit_use_double_quant") else 32 / 64
    return 4 + scales if values.get("load_in_4bit") else None


BITS: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "mxfp4": lambda values: MXFP4_BITS,
    "fp8": _fp8,
    "fbgemm_fp8": lambda values: 8.0,
    "modelopt": lambda values: 4 + 8 / 16 if "4" in str(values.get("quant_algo")) else 8.0,
    "compressed-tensors": _compressed,
    "gptq": _grouped("bits", "group_size"),
    "awq": _grouped("bits", "group_size"),
    "bitsandbytes": _bitsandbytes,
}
"""Bits of a packed weight by the name of the format."""
