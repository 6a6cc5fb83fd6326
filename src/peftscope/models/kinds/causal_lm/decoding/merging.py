"""The weight of an adapted layer with its adapters merged, and the layer left as it was bit for bit."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from peftscope.methods.build import REFUSALS
from peftscope.models.device import forked_rng

__all__ = ["merged_weights"]


def merged_weights(layer: BaseTunerLayer, base: nn.Linear) -> tuple[Tensor, Tensor | None] | None:
    """Weight and bias with which the base layer alone does what the adapted layer does.

    ``peft`` merges into copies, which are then taken; nothing is ever unmerged, since what is added and subtracted
    again is no longer the same. Whether merging is exact, the caller tries.

    Args:
        layer: In ``eval`` mode, its adapters not merged.
        base: Its base layer.

    Returns:
        None where the layer cannot be merged, is merged already, or its adapters are off.
    """
    other: Any = layer
    if layer.merged or layer.disable_adapters or not layer.active_adapters:
        return None
    with _unchanged(layer, base), forked_rng(base.weight.device), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            other.merge()
        except REFUSALS:
            return None
        kind, weight = base._parameters.get("weight"), base.weight
        if kind is None or weight.shape != (base.out_features, base.in_features) or weight.dtype != torch.float32:
            return None
        return weight.data, None if base.bias is None else base.bias.data


@contextmanager
def _unchanged(layer: nn.Module, base: nn.Linear) -> Iterator[None]:
    """Give a layer copies of its base's weights for a while; then everything that it holds is what it was."""
    parameters = [parameter for parameter in (base.weight, base.bias) if parameter is not None]
    originals = [parameter.data for parameter in parameters]
    states = [(vars(module), _copied(vars(module))) for module in layer.modules()]
    try:
        for parameter, original in zip(parameters, originals, strict=True):
            parameter.data = original.clone()
        yield
    finally:
        for state, (items, contents) in states:
            state.clear()
            state.update(items)
            for name, content in contents.items():
                _refill(state[name], content)
        for parameter, original in zip(parameters, originals, strict=True):
            parameter.data = original


def _copied(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a module holds, and copies of its lists, sets and dicts."""
    return dict(state), {name: copy.copy(held) for name, held in state.items() if isinstance(held, dict | list | set)}


def _refill(held: Any, content: Any) -> None:
    held.clear()
    held.extend(content) if isinstance(held, list) else held.update(content)
