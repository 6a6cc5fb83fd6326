"""A plain LoRA adapter with given weights: what every server loads.

The scale lies in the factor B and ``lora_alpha`` equals the rank, so that whatever a loader makes of alpha, of rank
patterns or of rank stabilisation, it multiplies by one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.methods.context import ADAPTER, base_inside
from peftscope.methods.targets import shortest_names

__all__ = ["PLAIN", "LoraWeights", "attach_plain_lora", "balanced_factors"]

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

    @property
    def name(self) -> str:
        """By which ``peft`` knows it: of the module, or of the fused parameter."""
        return self.module if self.parameter is None else f"{self.module}.{self.parameter}"


def attach_plain_lora(
    base: nn.Module,
    weights: Sequence[LoraWeights],
    *,
    task_type: str | None,
    wholes: Mapping[str, Tensor] | None = None,
    is_even: bool = True,
) -> Any:
    """Put a plain LoRA on a base, in place.

    Args:
        base: The original one.
        weights: Of every module that is changed.
        task_type: Member of ``peft.TaskType``, or None.
        wholes: Changed parameters that LoRA has no factors for, by full name.
        is_even: One rank for all modules, filled up with zeros; else each has its own.
    """
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer
    from peft.tuners.lora.layer import ParamWrapper

    wholes = wholes or {}
    rank = max(of.rank for of in weights)
    modules = [of.module for of in weights if of.parameter is None]
    biases = {f"{module}.bias" for module in modules} & wholes.keys()
    own = {} if is_even else _own_ranks(weights, rank)
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        rank_pattern=dict(own),
        alpha_pattern=dict(own),
        target_modules=shortest_names(base, modules, "module") if modules else [],
        target_parameters=[f"{of.module}.{of.parameter}" for of in weights if of.parameter] or None,
        task_type=task_type,
        fan_in_fan_out=any(of.turned for of in weights if of.parameter is None),
        bias="lora_only" if biases else "none",
        modules_to_save=sorted({name.rpartition(".")[0] for name in wholes.keys() - biases}) or None,
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
        _fill(found[of.module, of.parameter], of, rank if is_even else of.rank)
    for name, value in wholes.items():
        _set_whole(base_inside(model), *name.rpartition(".")[::2], value)
    return model


def _own_ranks(weights: Sequence[LoraWeights], usual: int) -> dict[str, int]:
    """Patterns of the ranks that are not the usual one: full names, which ``peft`` takes for endings of names."""
    names = [of.name for of in weights]
    found: dict[str, int] = {}
    for of in weights:
        is_ending = any(name.endswith(f".{of.name}") for name in names)
        if is_ending:  # first, and tied to the beginning: else it would be taken for the longer one's, too
            found = {f"^{of.name}": of.rank, **found}
        elif of.rank != usual:
            found[of.name] = of.rank
    return found


@torch.no_grad()
def balanced_factors(model: Any) -> list[nn.Parameter]:
    """The factors of a plain LoRA, ready to be trained: both of a module alike in size, their product as it was."""
    from peft.tuners.lora import LoraLayer

    found: list[nn.Parameter] = []
    for layer in (module for module in model.modules() if isinstance(module, LoraLayer)):
        if ADAPTER in layer.lora_embedding_A:
            a, b = layer.lora_embedding_A[ADAPTER], layer.lora_embedding_B[ADAPTER]
        else:
            a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        scale = (b.norm() / a.norm().clamp_min(1e-30)).sqrt()
        if scale > 0:
            a.mul_(scale)
            b.div_(scale)
        found += [a.requires_grad_(True), b.requires_grad_(True)]
    return found


@torch.no_grad()
def _set_whole(model: nn.Module, path: str, parameter: str, value: Tensor) -> None:
    """Set a parameter of a module that is kept whole beside the adapter, or that the adapter is on."""
    module: Any = model.get_submodule(path)
    held = module.modules_to_save[ADAPTER] if hasattr(module, "modules_to_save") else module.get_base_layer()
    held.get_parameter(parameter).copy_(value)


@torch.no_grad()
def _fill(layer: Any, of: LoraWeights, rank: int) -> None:
    """Set the weights of one layer."""
    more = rank - of.rank
    assert more >= 0, f"{of.name}: {of.rank} directions do not fit into rank {rank}"
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
