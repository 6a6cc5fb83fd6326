"""Which modules a method adapts: one policy for all, and what a built model really adapted.

The policy (``methods.coverage``) is written out as an explicit list of names, so that two methods with the same policy
adapt the same modules whatever ``peft``'s own defaults for the architecture are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from peftscope.errors import MethodRefused, unknown_name
from peftscope.methods.coverage import Coverage, coverage, fused_experts, reinterpreted

__all__ = [
    "Resolved",
    "adapted_modules",
    "embedding_targets",
    "feedforward_targets",
    "linear_targets",
    "matched_modules",
    "matching_modules",
    "norm_targets",
    "residual_writers",
    "resolved",
    "shortest_names",
    "unmatched",
]

POLICY, EXPERTS = "all-linear", "experts"
"""Words among targets: the policy, and the experts that it leaves out."""

# Linear layers that write to the residual stream, by the names the architectures give them. A block-diagonal
# adapter must know which way a layer is sharded when served, and no shape tells.
_RESIDUAL_WRITERS = (
    "o_proj",
    "out_proj",
    "down_proj",
    "c_proj",
    "dense_4h_to_h",
    "fc2",
    "fc_out",
    "wo",
    "w2",
)


def linear_targets(base: nn.Module, covered: Coverage | None = None) -> list[str]:
    """The policy: names of the linear layers it adapts, as short as is unambiguous.

    Args:
        base: The model.
        covered: ``coverage`` of it, where that is known already.

    Raises:
        MethodRefused: The model has none.
    """
    return shortest_names(base, list((covered or coverage(base)).modules), "linear layer")


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What a choice of targets stands for on a base."""

    modules: list[str] | str
    """Names, or tails of names; a string is a pattern over full names."""
    parameters: list[str] = field(default_factory=list)
    """Tails of the names of fused expert weights."""


def resolved(base: nn.Module, targets: Sequence[str] | str) -> Resolved:
    """What targets stand for: names of modules or of fused expert weights, ``all-linear`` (the policy), ``experts``, or
    one string that is a pattern over full names.

    Raises:
        MethodRefused: They ask for layers or experts that the model has not.
    """
    if isinstance(targets, str) and targets not in (POLICY, EXPERTS):
        return Resolved(modules=targets)
    modules: list[str] = []
    parameters: list[str] = []
    fused = fused_experts(base)
    for target in [targets] if isinstance(targets, str) else targets:
        if target == POLICY:
            modules += linear_targets(base)
        elif target == EXPERTS:
            parameters += _expert_tails(fused)
        elif any(_bears(name, target) for name in fused):
            parameters.append(target)
        else:
            modules.append(target)
    return Resolved(modules=list(dict.fromkeys(modules)), parameters=list(dict.fromkeys(parameters)))


def unmatched(base: nn.Module, targets: Sequence[str] | str) -> list[str]:
    """What to say of targets that nothing in a base bears, with the nearest name."""
    names = [name for name, _ in base.named_modules()]
    if isinstance(targets, str):
        if targets.lower() in (POLICY, EXPERTS) or matching_modules(base, targets):
            return []
        return [f"targets: the pattern {targets!r} is the full name of no module of this model"]
    bearing = [*names, *fused_experts(base)]
    known = {*reinterpreted(base), POLICY, EXPERTS}
    fit = [name for name, module in base.named_modules() if next(module.parameters(recurse=False), None) is not None]
    tails = {_tail(name) for name in (*fit, *fused_experts(base))}
    return [
        f"targets: {unknown_name('module of this model', target, tails)}"
        for target in targets
        if target.rpartition(".")[2] not in known and not any(_bears(name, target) for name in bearing)
    ]


def matching_modules(base: nn.Module, pattern: str) -> list[str]:
    """Full names that a pattern is meant for; none where it is no regular expression."""
    try:
        return [name for name, _ in base.named_modules() if re.fullmatch(pattern, name)]
    except re.error:
        return []


def _bears(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _expert_tails(fused: Iterable[str]) -> list[str]:
    """What comes after the number of the block in the names of fused weights."""
    tails = list(dict.fromkeys(re.sub(r"^.*\.\d+\.", "", name) for name in fused))
    if not tails:
        raise MethodRefused("the model has no experts with fused weights; take 'experts' out of the targets")
    return tails


def norm_targets(base: nn.Module) -> list[str]:
    """Names of the normalisation layers that have a weight."""
    found = [
        name
        for name, module in base.named_modules()
        if "norm" in type(module).__name__.lower() and isinstance(getattr(module, "weight", None), nn.Parameter)
    ]
    return shortest_names(base, found, "normalisation layer")


def embedding_targets(base: nn.Module) -> list[str]:
    """Name of the input embedding."""
    input_table = getattr(base, "get_input_embeddings", None)
    table = input_table() if callable(input_table) else None
    found = [
        name
        for name, module in base.named_modules()
        if (module is table if table is not None else isinstance(module, nn.Embedding))
    ]
    return shortest_names(base, found, "embedding")


def feedforward_targets(base: nn.Module, targets: Iterable[str]) -> tuple[list[str], list[str]]:
    """Targets, and those of them that close a feed-forward block, whose *input* IA3 scales.

    A name that stands for both kinds of layer (``c_proj`` of GPT-2) is replaced by the layers' full names.
    """
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as BY_MODEL

    model_type = getattr(getattr(base, "config", None), "model_type", None)
    # c_proj closes attention too in most architectures; only models listed as such may use it.
    names = BY_MODEL.get(model_type) or sorted({n for ns in BY_MODEL.values() for n in ns} - {"c_proj"})
    everything: list[str] = []
    feedforward: list[str] = []
    for target in targets:
        modules = matched_modules(base, [target])
        closing = [m for m in modules if any(m == n or m.endswith(f".{n}") for n in names)]
        mixed = bool(closing) and len(closing) < len(modules)
        everything += modules if mixed else [target]
        feedforward += closing if mixed else ([target] if closing else [])
    return everything, feedforward


def residual_writers(targets: Iterable[str]) -> tuple[list[str], list[str]]:
    """Targets split into those that write to the residual stream and the others."""
    writers: list[str] = []
    others: list[str] = []
    for target in targets:
        (writers if target.endswith(_RESIDUAL_WRITERS) else others).append(target)
    return writers, others


def matched_modules(base: nn.Module, targets: Iterable[str]) -> list[str]:
    """Full names of the modules a list of names stands for: the same name, or one that ends with it."""
    wanted = tuple(targets)
    ends = tuple(f".{target}" for target in wanted)
    return [name for name, _ in base.named_modules() if name in wanted or (ends and name.endswith(ends))]


def adapted_modules(model: nn.Module) -> tuple[str, ...]:
    """Full names of the base's modules a built model adapts, read from its tuner layers, not from the wish.

    Prompt learning touches no module of the base and gives an empty tuple.
    """
    from peft.tuners.adaption_prompt.layer import AdaptedAttention, AdaptedAttentionGPT
    from peft.tuners.lora.layer import ParamWrapper
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    kinds: tuple[Any, ...] = (BaseTunerLayer, AuxiliaryTrainingWrapper, AdaptedAttention, AdaptedAttentionGPT)
    inner = getattr(model, "get_base_model", None)
    root = inner() if callable(inner) else model
    found: list[str] = []
    outermost = ""
    for name, module in root.named_modules():
        # A tuner layer may hold another; the base knows the outer one only, but each weight it wraps.
        inside_found = bool(outermost) and name.startswith(f"{outermost}.")
        if not isinstance(module, kinds) or (inside_found and not isinstance(module, ParamWrapper)):
            continue
        if not inside_found:
            outermost = name
        found.append(f"{outermost}.{module.parameter_name}" if isinstance(module, ParamWrapper) else name)
    return tuple(found)


def shortest_names(base: nn.Module, names: list[str], kind: str) -> list[str]:
    """Shortest tails that stand for exactly these modules; full names where a tail would catch others."""
    if not names:
        raise MethodRefused(f"the model has no {kind} to adapt; set targets")
    wanted = set(names)
    short: set[str] = set()
    tails: dict[str, list[str]] = {}
    for name in names:
        tails.setdefault(_tail(name), []).append(name)
    for tail, members in tails.items():
        catches_others = not wanted.issuperset(matched_modules(base, [tail]))
        short.update(members if catches_others else [tail])
    return sorted(short)


def _tail(name: str) -> str:
    """Last part of a name, with as many before it as it takes not to start with an index (``to_out.0``)."""
    parts = name.split(".")
    start = len(parts) - 1
    while start > 0 and parts[start].isdigit():
        start -= 1
    return ".".join(parts[start:])
