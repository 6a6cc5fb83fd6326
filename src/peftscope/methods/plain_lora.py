"""A plain LoRA adapter with given weights: what every server loads.

The scale lies in the factor B and ``lora_alpha`` equals the rank, so that whatever a loader makes of alpha, of rank
patterns or of rank stabilisation, it multiplies by one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.methods.context import ADAPTER, base_inside
from peftscope.methods.targets import shortest_names

__all__ = ["PLAIN", "LoraWeights", "attach_plain_lora", "cut_plain_lora"]

PLAIN = "lora"
"""Its card."""


@dataclass(frozen=True, kw_only=True)
class LoraWeights:
    """The two factors of a module, in the shapes ``peft`` holds them, but for their rank."""

    module: str
    """Its full name."""
    a: Tensor
    """(k, in), or (experts, k, in)."""
    b: Tensor
    """(out, k), or (experts, out, k)."""
    parameter: str | None = None
    """Name of the fused parameter; None where the module's own weight is meant."""
    turned: bool = False
    """Whether the base holds the weight as (in, out)."""

    @property
    def rank(self) -> int:
        """Directions held."""
        return self.a.shape[-2]


def attach_plain_lora(base: nn.Module, weights: Sequence[LoraWeights], *, rank: int, task_type: str | None) -> Any:
    """Put a plain LoRA on a base, in place: one rank for all modules, filled up with zeros.

    Args:
        base: The original one.
        weights: Of every module that is changed.
        rank: At least that of each of them.
        task_type: Member of ``peft.TaskType``, or None.
    """
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer
    from peft.tuners.lora.layer import ParamWrapper

    modules = [of.module for of in weights if of.parameter is None]
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=shortest_names(base, modules, "module") if modules else [],
        target_parameters=[f"{of.module}.{of.parameter}" for of in weights if of.parameter] or None,
        task_type=task_type,
        fan_in_fan_out=any(of.turned for of in weights if of.parameter is None),
        inference_mode=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what peft says of a base that was used with it before
        model: Any = get_peft_model(base, config, autocast_adapter_dtype=False)
    found: dict[tuple[str, str | None], Any] = {}
    for name, layer in base_inside(model).named_modules():
        if isinstance(layer, ParamWrapper):  # one for each parameter, around one another
            found[re.sub(r"(\.base_layer)+$", "", name), layer.parameter_name] = layer
        elif isinstance(layer, LoraLayer):
            found[name, None] = layer
    for of in weights:
        _fill(found[of.module, of.parameter], of, rank)
    return model


@contextmanager
def cut_plain_lora(model: Any, rank: int) -> Iterator[None]:
    """Within it, a plain LoRA has a smaller rank: what is beyond counts nothing."""
    from peft.tuners.lora import LoraLayer

    kept: list[tuple[Tensor, Tensor]] = []
    for layer in (module for module in model.modules() if isinstance(module, LoraLayer)):
        if ADAPTER in layer.lora_embedding_B:
            beyond = layer.lora_embedding_B[ADAPTER].data[:, rank:]
        else:
            weight = layer.lora_B[ADAPTER].weight.data  # of fused experts (out, rank x experts), the rank first
            beyond = weight[:, rank * (weight.shape[1] // layer.r[ADAPTER]) :]
        kept.append((beyond, beyond.clone()))
        beyond.zero_()
    try:
        yield
    finally:
        for beyond, values in kept:
            beyond.copy_(values)


@torch.no_grad()
def _fill(layer: Any, of: LoraWeights, rank: int) -> None:
    """Set the weights of one layer."""
    more = rank - of.rank
    a = nn.functional.pad(of.a, (0, 0, 0, more)).float()
    b = nn.functional.pad(of.b, (0, more)).float()
    if ADAPTER in layer.lora_embedding_A:
        for embedded, value in ((layer.lora_embedding_A[ADAPTER], a), (layer.lora_embedding_B[ADAPTER], b)):
            embedded.data = value.contiguous().to(embedded.device)
        return
    if a.ndim == 3:  # peft keeps the experts' factors in one matrix each
        a, b = a.flatten(0, 1), b.permute(1, 2, 0).flatten(1)
    for factor, value in ((layer.lora_A[ADAPTER], a), (layer.lora_B[ADAPTER], b)):
        factor.weight.data = value.reshape(factor.weight.shape).contiguous().to(factor.weight.device)
