"""Which modules a method adapts: one policy for all, and what a built model really adapted.

The policy is all linear layers of the transformer blocks, the head excluded. It is written out as an explicit
list of names, so that two methods with the same policy adapt the same modules whatever ``peft``'s own
defaults for the architecture are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from peftscope.errors import MethodRefused

__all__ = [
    "adapted_modules",
    "embedding_targets",
    "feedforward_targets",
    "linear_targets",
    "matched_modules",
    "norm_targets",
    "residual_writers",
]

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


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer: plain, quantized, or the transposed one of GPT-2."""
    if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
        return False  # nn.MultiheadAttention calls its weight directly, an adapter on it would do nothing
    if isinstance(module, nn.Linear | Conv1D):
        return True
    # GPTQ, AWQ, HQQ, … bring layers of their own that share nothing but these attributes.
    name = type(module).__name__
    return "Linear" in name and hasattr(module, "in_features") and hasattr(module, "out_features")


def linear_targets(base: nn.Module) -> list[str]:
    """The policy: names of the linear layers inside the blocks, head excluded, as short as is unambiguous.

    A model without blocks (no ``nn.ModuleList`` that holds linear layers) gives all its linear layers but the
    head.

    Raises:
        MethodRefused: The model has no linear layer.
    """
    head = getattr(base, "get_output_embeddings", None)
    output = head() if callable(head) else None
    stacks = tuple(f"{name}." for name, module in base.named_modules() if isinstance(module, nn.ModuleList))
    linear = [name for name, module in base.named_modules() if is_linear(module) and module is not output]
    inside = [name for name in linear if name.startswith(stacks)] if stacks else []
    return _shortened(base, inside or linear, "linear layer")


def norm_targets(base: nn.Module) -> list[str]:
    """Names of the normalisation layers that have a weight."""
    found = [
        name
        for name, module in base.named_modules()
        if "norm" in type(module).__name__.lower() and isinstance(getattr(module, "weight", None), nn.Parameter)
    ]
    return _shortened(base, found, "normalisation layer")


def embedding_targets(base: nn.Module) -> list[str]:
    """Name of the input embedding."""
    input_table = getattr(base, "get_input_embeddings", None)
    table = input_table() if callable(input_table) else None
    found = [
        name
        for name, module in base.named_modules()
        if (module is table if table is not None else isinstance(module, nn.Embedding))
    ]
    return _shortened(base, found, "embedding")


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
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    kinds: tuple[Any, ...] = (BaseTunerLayer, AuxiliaryTrainingWrapper, AdaptedAttention, AdaptedAttentionGPT)
    inner = getattr(model, "get_base_model", None)
    root = inner() if callable(inner) else model
    found: list[str] = []
    for name, module in root.named_modules():
        # A tuner layer may hold another; the base knows the outer one only.
        inside_found = any(name.startswith(f"{outer}.") for outer in found[-1:])
        if isinstance(module, kinds) and not inside_found:
            found.append(name)
    return tuple(found)


def _shortened(base: nn.Module, names: list[str], kind: str) -> list[str]:
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
