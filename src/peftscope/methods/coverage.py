"""What the one policy adapts of a base and what it leaves out, each with its share of the base's weights.

The policy is the linear layers of the transformer blocks that text, or what else the base reads, passes through. It
leaves out what not every method could adapt alike, so that all methods of a study adapt the same weights: layers that
``peft`` refuses on some models, names that it takes for other weights there, layers that give more than one tensor,
towers of other modalities, and experts whose weights are fused into one tensor (``experts`` among the targets asks
for these, of methods that can).
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

__all__ = [
    "Coverage",
    "LeftOut",
    "coverage",
    "fused_experts",
    "is_linear",
    "lines_of",
    "module_sizes",
    "reinterpreted",
    "share_of",
]

WORTH_SAYING = 0.001
"""Share of the weights from which something that is left out is told."""
MAMBA_TYPES = ("falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h")
MAMBA_REFUSED = ("out_proj", "conv1d")
"""Model types and names that ``peft.tuners.tuners_utils`` refuses there, for some methods and not for all."""

MAMBA_FUSED, MAMBA_TAKEN = ("mamba", "falcon_mamba"), ("x_proj", "dt_proj")
"""Model types whose fused kernel, where it is installed, takes the weights of these layers and does not call them."""
FAILS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError)
"""What a pass on shapes raises where it needs values."""
REFUSED = "peft refuses them on this architecture for some methods"
TAKEN_FOR_EXPERTS = "peft takes these names for the fused expert weights of this architecture"
MANY_TENSORS = "they give more than one tensor"
NOT_CALLED = "the model never calls them, so that an adapter on them would do nothing"
FUSED = "their weights are fused into one tensor; 'targets: [all-linear, experts]' adapts them, where a method can"
UNREAD = "text never reaches {}"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Weights of one kind that the policy leaves out."""

    what: str
    """Such as ``fused expert weights``."""
    why: str
    share: float
    """Of the base's weights."""

    def text(self) -> str:
        """As a line.

        >>> LeftOut(what="vision_tower", why="text never reaches it", share=0.0934).text()
        'not adapted: vision_tower, 9.3 % of the weights: text never reaches it'
        """
        return f"not adapted: {self.what}, {100 * self.share:.1f} % of the weights: {self.why}"


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The policy on a base."""

    modules: tuple[str, ...]
    """Full names of the linear layers it adapts."""
    share: float
    """Of the base's weights that lie in these."""
    left_out: tuple[LeftOut, ...]
    """Linear layers and experts that it does not adapt; embeddings, norms and head are never meant."""

    def lines(self) -> list[str]:
        """What is worth saying of what is left out."""
        return lines_of(self.left_out)


def lines_of(left_out: Iterable[LeftOut]) -> list[str]:
    """What is worth saying of what is left out."""
    return [left.text() for left in left_out if left.share >= WORTH_SAYING]


def coverage(base: nn.Module) -> Coverage:
    """What the policy adapts of a base. One without blocks (no list that holds linear layers) gives all its linear
    layers but the head.
    """
    sizes = module_sizes(base)
    total = sum(sizes.values())
    head = getattr(base, "get_output_embeddings", None)
    output = head() if callable(head) else None
    stacks = tuple(f"{name}." for name, module in base.named_modules() if isinstance(module, nn.ModuleList))
    linear = {n: m for n, m in base.named_modules() if is_linear(m) and m is not output}
    inside = [name for name in linear if name.startswith(stacks)] if stacks else []
    towers, is_read = _read_part(base, output)
    called, model_type = _called(base, linear), getattr(getattr(base, "config", None), "model_type", None)
    other_names, tails = reinterpreted(base), {name.rpartition(".")[2] for name in linear}
    chosen: list[str] = []
    out: Counter[tuple[str, str]] = Counter()
    for name in inside or linear:
        if not is_read(name):
            continue  # counted below, with all else of its tower
        tail = name.rpartition(".")[2]
        if model_type in MAMBA_TYPES and tail in MAMBA_REFUSED:
            out[f"layers called {tail}", REFUSED] += sizes[name]
        elif tail in other_names:
            out[f"layers called {', '.join(sorted(other_names & tails))}", TAKEN_FOR_EXPERTS] += sizes[name]
        elif not _gives_one_tensor(linear[name]):
            out[f"routers called {tail}", MANY_TENSORS] += sizes[name]
        elif (called is not None and name not in called) or (model_type in MAMBA_FUSED and tail in MAMBA_TAKEN):
            out[f"layers called {tail}", NOT_CALLED] += sizes[name]
        else:
            chosen.append(name)
    fused = {name.rpartition(".")[0] for name in fused_experts(base)}
    out["the experts", FUSED] += sum(sizes[name] for name in fused)
    if towers:
        why = UNREAD.format("it" if len(towers) == 1 else "them")
        out[" and ".join(towers), why] += sum(size for name, size in sizes.items() if not is_read(f"{name}."))
    left = tuple(LeftOut(what=what, why=why, share=size / total) for (what, why), size in out.items() if size)
    return Coverage(modules=tuple(chosen), share=sum(sizes[name] for name in chosen) / total, left_out=left)


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer: plain, quantized, or the transposed one of GPT-2."""
    if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
        return False  # nn.MultiheadAttention calls its weight directly, an adapter on it would do nothing
    if isinstance(module, nn.Linear | Conv1D):
        return True
    # GPTQ, AWQ, HQQ, … bring layers of their own that share nothing but these attributes.
    name = type(module).__name__
    return "Linear" in name and hasattr(module, "in_features") and hasattr(module, "out_features")


def fused_experts(base: nn.Module) -> list[str]:
    """Full names of the weights of experts that are fused into one tensor (experts, …, …)."""
    return [
        f"{name}.{own}" if name else own
        for name, module in base.named_modules()
        for own, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 3 and not isinstance(module, nn.modules.conv._ConvNd)
    ]


def reinterpreted(base: nn.Module) -> frozenset[str]:
    """Last parts of names that ``peft`` takes for fused expert weights on this architecture, whatever bears them.

    Transformers 5 fused what were linear layers before, and ``peft`` reads older configs so.
    """
    from peft.utils import transformers_weight_conversion as conversion

    model_type = getattr(getattr(base, "config", None), "model_type", None)
    by_type: Mapping[str, str] = getattr(conversion, "_MODEL_TO_CONVERSION_PATTERN", {})
    names: Mapping[str, Mapping[str, str]] = getattr(conversion, "_MOE_TARGET_MODULE_MAPPING", {})
    return frozenset(names.get(by_type.get(str(model_type), ""), {}))


def module_sizes(base: nn.Module) -> Counter[str]:
    """Elements of the parameters that each module itself has, shared ones once, packed ones as they were before."""
    sizes: Counter[str] = Counter()
    for name, parameter in base.named_parameters():
        sizes[name.rpartition(".")[0]] += _elements(parameter)
    return sizes


def share_of(names: Iterable[str], sizes: Mapping[str, int]) -> float:
    """Share of the weights that lie in modules of given full names, or in modules of theirs."""
    wanted = frozenset(names)
    inside = sum(size for name, size in sizes.items() if _any_beginning(name, wanted))
    return inside / max(1, sum(sizes.values()))


def _any_beginning(name: str, wanted: frozenset[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:length]) in wanted for length in range(1, len(parts) + 1))


def _elements(parameter: Tensor) -> int:
    """Elements of a weight; of one that bitsandbytes packed, of what it packed."""
    state: Any = getattr(parameter, "quant_state", None)
    shape = getattr(state, "shape", None)
    return int(math.prod(shape)) if shape is not None else parameter.numel()


def _read_part(base: nn.Module, output: nn.Module | None) -> tuple[list[str], Callable[[str], bool]]:
    """Names of the towers beside the language model, and whether what has a name is in none of them."""
    get_decoder = getattr(base, "get_decoder", None)
    decoder = get_decoder() if callable(get_decoder) else None
    path = next((name for name, module in base.named_modules() if module is decoder), "")
    if decoder is None or not path:
        return [], lambda name: True
    parent = path.rpartition(".")[0]
    beside = {
        name: f"{parent}.{name}" if parent else name
        for name, module in base.get_submodule(parent).named_children()
        if module is not decoder and module is not output and _has_matrices(module)
    }
    inside = tuple(f"{name}." for name in beside.values())
    return list(beside), lambda name: not name.startswith(inside)


def _called(base: nn.Module, linear: Mapping[str, nn.Module]) -> frozenset[str] | None:
    """Which layers a forward pass calls, found on shapes alone; None where that cannot be told."""
    inputs = getattr(base, "dummy_inputs", None)
    if not isinstance(inputs, Mapping):
        return None
    found: set[str] = set()
    handles = [module.register_forward_hook(lambda *_, name=name: found.add(name)) for name, module in linear.items()]
    tensors = {**dict(base.named_parameters()), **dict(base.named_buffers())}
    try:
        with torch.no_grad():
            empty = {name: _on_meta(tensor) for name, tensor in tensors.items()}
            functional_call(base, empty, (), {name: _on_meta(tensor) for name, tensor in inputs.items()})
    except FAILS:
        return None
    finally:
        for handle in handles:
            handle.remove()
    return frozenset(found)


def _on_meta(tensor: Tensor) -> Tensor:
    """Its shape; in bfloat16, which every kernel of shapes takes."""
    dtype = torch.bfloat16 if tensor.is_floating_point() else tensor.dtype
    return torch.empty(tensor.shape, dtype=dtype, device="meta")


def _has_matrices(module: nn.Module) -> bool:
    return not isinstance(module, nn.Embedding) and any(each.ndim > 1 for each in module.parameters())


def _gives_one_tensor(module: nn.Module) -> bool:
    """Whether a layer gives what a linear layer gives; routers that are one may give weights and choices."""
    if not isinstance(module, nn.Linear) or type(module).forward is nn.Linear.forward:
        return True
    if not type(module).__module__.startswith("transformers."):
        return True  # of a quantization library
    try:
        given = copy.deepcopy(module).to("meta")(torch.empty(1, 2, module.in_features, device="meta"))
    except FAILS:
        return True
    return isinstance(given, Tensor)
