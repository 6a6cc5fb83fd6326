"""Sizes of safetensors files from names, shapes and types alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["Entry", "Range", "adapter_range", "entry", "file_bytes"]

Entry = tuple[torch.dtype, tuple[int, ...]]
"""Type and shape of a tensor in a file."""

Range = tuple[int, int]
"""Least and most bytes."""

# Names and order of the types in safetensors' format; a file holds its tensors from the last of them to the first.
_TYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.float32: "F32",
    torch.complex64: "C64",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint64: "U64",
}
_ORDER = {dtype: place for place, dtype in enumerate(_TYPES)}


def entry(tensor: Tensor) -> Entry:
    """Type and shape of a tensor."""
    return tensor.dtype, tuple(tensor.shape)


def file_bytes(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> int:
    """Bytes of a safetensors file: eight for the header's length, the header filled up to eights, the tensors.

    >>> file_bytes({"a": (torch.float32, (2, 3))}, {"format": "pt"})
    120
    """
    return _header_bytes(entries, metadata) + _payload(entries)


def _header_bytes(entries: Mapping[str, Entry], metadata: Mapping[str, str]) -> int:
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    start = 0
    for name in sorted(entries, key=lambda name: (-_ORDER[entries[name][0]], name)):
        dtype, shape = entries[name]
        end = start + _payload({name: (dtype, shape)})
        header[name] = {"dtype": _TYPES[dtype], "shape": shape, "data_offsets": (start, end)}
        start = end
    length = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + math.ceil(length / 8) * 8


def _payload(entries: Mapping[str, Entry]) -> int:
    return sum(dtype.itemsize * math.prod(shape) for dtype, shape in entries.values())


def adapter_range(entries: Mapping[str, Entry], config: Any, metadata: Mapping[str, str], *, known: bool) -> Range:
    """Least and most bytes of an adapter's file, which differ where data or training decide on shapes.

    Args:
        entries: The adapter as it is built.
        config: Its ``peft`` config.
        metadata: What the file says of itself.
        known: Whether data have had their say: an adapter built with values, not on meta.

    ``entries`` hold at the most what is written, except under EVA, which gives ranks to layers that are wider than
    those it takes them from.
    """
    size = file_bytes(entries, metadata)
    if config.peft_type == "ADALORA" and config.rank_pattern is None:
        ranks = _Ranks(entries)
        least = ranks.payload(config.target_r * len(ranks.cost), config.init_r, cheapest=True)
        empty = {**entries, **ranks.resized(0)}
        return _header_bytes(empty, metadata) + ranks.fixed + least, size
    if known:
        return size, size
    if getattr(config, "init_lora_weights", None) == "eva":
        ranks = _Ranks(entries)
        budget, most = sum(ranks.held.values()), round(config.r * config.eva_config.rho)
        wide = ranks.resized(most)
        return (
            # Layers that get no rank are not in the file.
            _header_bytes(ranks.others, metadata) + ranks.fixed + ranks.payload(budget, most, cheapest=True),
            _header_bytes({**entries, **wide}, metadata) + ranks.fixed + ranks.payload(budget, most, cheapest=False),
        )
    if config.peft_type == "ADAMSS":
        return _adamss_range(entries, config, metadata)
    return size, size


class _Ranks:
    """Low-rank pairs of a file by layer: what a rank of each costs in bytes, and the ranks held."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.cost: dict[str, int] = {}
        self.held: dict[str, int] = {}
        self.others = {name: value for name, value in entries.items() if _rank_axis(name) is None}
        self.fixed = _payload(self.others)
        self._ranked = {name: value for name, value in entries.items() if name not in self.others}
        for name, (dtype, shape) in self._ranked.items():
            layer, axis = name.partition(".lora_")[0], _rank_axis(name)
            assert axis is not None
            self.held[layer] = shape[axis]
            self.cost[layer] = self.cost.get(layer, 0) + _payload({name: (dtype, shape)}) // max(1, shape[axis])

    def payload(self, budget: int, most: int, *, cheapest: bool) -> int:
        """Bytes of a number of ranks, ``most`` of them in a layer, in the layers where they cost least or most."""
        total = 0
        for cost in sorted(self.cost.values(), reverse=not cheapest):
            given = min(most, budget)
            budget -= given
            total += given * cost
        return total

    def resized(self, rank: int) -> dict[str, Entry]:
        """The pairs with another rank; without one they are the shortest to describe."""
        return {name: _resized(value, rank, _rank_axis(name)) for name, value in self._ranked.items()}


def _rank_axis(name: str) -> int | None:
    """Axis of the rank in a weight of a low-rank pair; None for any other weight."""
    part = name.partition(".lora_")[2][:1]
    return {"A": 0, "E": 0, "B": 1}.get(part)


def _resized(value: Entry, size: int, axis: int | None) -> Entry:
    dtype, shape = value
    assert axis is not None
    return dtype, (*shape[:axis], size, *shape[axis + 1 :])


def _adamss_range(entries: Mapping[str, Entry], config: Any, metadata: Mapping[str, str]) -> Range:
    """AdaMSS' clusters of one layer may be of any size, and one of few rows has as small a rank.

    ``entries`` share rows evenly, which gives the most. The least is what one large cluster and else single rows give.
    """
    layers: dict[str, list[str]] = {}
    for name in entries:
        if ".adamss_B." in name:
            layers.setdefault(name.partition(".adamss_B.")[0], []).append(name)
    least, shortest, longest = dict(entries), dict(entries), dict(entries)
    for of_layer in layers.values():
        rows = sum(entries[name][1][0] for name in of_layer)
        for place, name in enumerate(of_layer):
            dtype, (_, rank) = entries[name]
            held = rows - len(of_layer) + 1 if place == 0 else 1
            low = 1 if config.use_dynamic_rank else min(held, rank)
            least[name], shortest[name], longest[name] = (dtype, (held, low)), (dtype, (1, 1)), (dtype, (rows, rank))
            other = name.replace(".adamss_B.", ".adamss_A.")
            width = entries[other][1][1]
            least[other], shortest[other] = (dtype, (low, width)), (dtype, (1, width))
    return _header_bytes(shortest, metadata) + _payload(least), _header_bytes(longest, metadata) + _payload(entries)
