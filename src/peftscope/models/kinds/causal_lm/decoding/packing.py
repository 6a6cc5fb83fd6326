"""Weights laid out once for products with few rows, while a model is scored on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import psutil
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from peftscope.models.kinds.causal_lm.decoding.checking import FAILURES, require_close
from peftscope.models.kinds.causal_lm.decoding.merging import merged_weights
from peftscope.models.onednn import has_onednn, linear

__all__ = ["PackedModel", "counted_copies", "is_worth_packing", "packed"]

ROWS = 32
"""Rows that oneDNN chooses a layout for; it is as good for 1 and for 2,000."""
SHARE_OF_MEMORY = 8
"""Copies may take one part in so many of the machine's memory."""
LEAST_TOKENS = 1000
"""Tokens to be read and written, below which packing takes longer than it saves."""

Forward = Callable[..., Tensor]


class PackedModel:
    """A model whose linear layers multiply by copies of their weights that are laid out for it.

    oneDNN's packed layout saves a third of the time of a product with up to 64 rows (SmolLM2-135M's linear layers on
    one thread, 25 rows: 124 ms as they are, 131 ms with weights transposed beforehand, 80 ms packed).

    Args:
        model: In ``eval`` mode, in float32, on a CPU.
        merge: Whether copies of adapted layers are of the merged weights; else their adapters stay as they are.
    """

    def __init__(self, model: nn.Module, *, merge: bool) -> None:
        self.model = model
        self.merge = merge
        self.forwards: dict[nn.Module, Forward] = {}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """For a while; afterwards every layer is as it was, whatever happens."""
        try:
            self._pack()
            self._replace()
            yield
        finally:
            self._put_back()
            self.forwards.clear()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """The model as it is, for a while within ``applied``."""
        self._put_back()
        try:
            yield
        finally:
            self._replace()

    def _pack(self) -> None:
        covered: set[nn.Module] = set()
        for module in self.model.modules():  # an adapted layer comes before its base layer
            if module in covered or "forward" in vars(module):
                continue
            if isinstance(module, BaseTunerLayer):
                weights = self._merged(module)
                if weights is not None:
                    covered |= set(module.modules())
                    self.forwards[module] = _packed(module.forward, *weights)
            elif isinstance(module, nn.Linear) and _is_plain(module):
                self.forwards[module] = _packed(module.forward, module.weight, module.bias)

    def _merged(self, layer: BaseTunerLayer) -> tuple[Tensor, Tensor | None] | None:
        base = layer.get_base_layer()
        if not _is_plain(base) or not self.merge:
            return None
        return merged_weights(layer, base)

    def _replace(self) -> None:
        for module, forward in self.forwards.items():
            vars(module)["forward"] = forward

    def _put_back(self) -> None:
        for module in self.forwards:
            vars(module).pop("forward", None)


@contextmanager
def packed(model: nn.Module, device: torch.device, *, num_tokens: int, tried: Callable[[], Tensor]) -> Iterator[None]:
    """A model with its linear layers packed, where that is worth it, and its adapters as they are.

    Args:
        model: In ``eval`` mode.
        device: Where it is.
        num_tokens: To be read within the context.
        tried: Gives some of the model's logits, of shape (positions, vocabulary). Where packed layers give others (an
            adapter that changes a layer's weight while it computes), nothing is packed.
    """
    if not is_worth_packing(model, device, num_tokens=num_tokens):
        yield
        return
    layers = PackedModel(model, merge=False)
    with layers.applied(), nullcontext() if _is_same(layers, tried) else layers.suspended():
        yield


def _is_same(layers: PackedModel, tried: Callable[[], Tensor]) -> bool:
    with layers.suspended():
        wanted = tried()
    try:
        require_close(tried(), wanted)
    except FAILURES:
        return False
    return True


def is_worth_packing(model: nn.Module, device: torch.device, *, num_tokens: int) -> bool:
    """Whether copies help and fit: float32 on a CPU, many tokens, and an eighth of the machine's memory at most."""
    if device.type != "cpu":
        return False
    size = _copied_bytes(_layers(model, device))
    fits = _is_small(size) and size < psutil.virtual_memory().available
    return size > 0 and fits and num_tokens >= LEAST_TOKENS and has_onednn()


@contextmanager
def counted_copies(model: nn.Module, *, num_times: float) -> Iterator[None]:
    """Of a model by its shapes alone: allocate on the CPU what packed copies of its weights take there.

    Each comes when its layer is first used, so that it counts as a part of its block; what is counted for an
    accelerator leaves out all that is on the CPU, and nothing is written into what is allocated here.

    Args:
        model: On the ``meta`` device.
        num_times: How many times as many blocks the whole model has, of which this one stands for the memory.
    """
    layers = _layers(model, torch.device("meta"))
    copies: dict[nn.Module, Tensor] = {}

    def allocate(layer: nn.Module, args: Any) -> None:
        if layer not in copies:
            copies[layer] = torch.empty(layers[layer].shape, dtype=torch.float32, device="cpu")

    fits = has_onednn() and _is_small(_copied_bytes(layers) * num_times)
    hooks = [layer.register_forward_pre_hook(allocate) for layer in layers] if fits else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _layers(model: nn.Module, device: torch.device) -> dict[nn.Module, Tensor]:
    """Linear layers that can be packed, and their weights."""
    return {
        module: module.weight
        for module in model.modules()
        if isinstance(module, nn.Linear) and _is_plain(module, device.type)
    }


def _copied_bytes(layers: dict[nn.Module, Tensor]) -> int:
    return sum(weight.numel() * weight.element_size() for weight in layers.values())


def _is_small(size: float) -> bool:
    return size * SHARE_OF_MEMORY < psutil.virtual_memory().total


def _is_plain(module: nn.Module, device: str = "cpu") -> bool:
    """A linear layer of torch itself, in float32, whose weight is a parameter."""
    return (
        type(module) is nn.Linear
        and isinstance(module._parameters.get("weight"), Tensor)
        and module.weight.dtype == torch.float32
        and module.weight.device.type == device
        and module.weight.numel() > 0
    )


def _packed(original: Forward, weight: Tensor, bias: Tensor | None) -> Forward:
    """A forward pass by a packed copy; what is no float32 input takes the original's."""
    packed = _pack(weight.detach())
    constant = None if bias is None else bias.detach().clone()

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs or x.dtype != torch.float32:
            return original(x, *args, **kwargs)
        return linear(x, packed, constant)

    return forward


def _pack(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS)
    return packed
