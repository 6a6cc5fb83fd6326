"""Products of activations and frozen weights on a CPU, by the faster of the libraries PyTorch comes with.

For float32 matrices PyTorch takes MKL. oneDNN multiplies by the same weights, as they lie in memory, in nine tenths of
the time or less at the sizes of a training step, forward and backward; sums are rounded otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from peftscope.models.onednn import has_onednn, linear

__all__ = ["fast_frozen_products"]


@contextmanager
def fast_frozen_products(model: nn.Module) -> Iterator[None]:
    """Let the linear layers of a model with frozen float32 weights on a CPU multiply by oneDNN, where there is one."""
    is_usable = next(model.parameters()).device.type == "cpu" and has_onednn()
    layers = _frozen_layers(model) if is_usable else []
    for layer in layers:
        vars(layer)["forward"] = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _frozen_layers(model: nn.Module) -> list[nn.Linear]:
    linear_layers = (module for module in model.modules() if type(module) is nn.Linear)
    return [layer for layer in linear_layers if "forward" not in vars(layer) and not layer.weight.requires_grad]


def _forward(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """The layer's output. Its weights are checked at every call, since a method may replace them for a while."""
    frozen = [each for each in (layer.weight, layer.bias) if each is not None]
    is_usable = (
        all(type(each) in (Tensor, nn.Parameter) and not each.requires_grad for each in frozen)
        and all(each.dtype == torch.float32 and each.device.type == "cpu" for each in (inputs, *frozen))
        and inputs.numel() > 0
        and not torch.is_autocast_enabled("cpu")
    )
    if not is_usable:
        return nn.Linear.forward(layer, inputs)
    return cast(Tensor, _FrozenProduct.apply(inputs, layer.weight, layer.bias))  # type: ignore[no-untyped-call]


class _FrozenProduct(torch.autograd.Function):
    """``inputs @ weight.T + bias``, with a gradient to the inputs alone."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _product(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return _product(grad, weight.t(), None), None, None


def _product(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Over the last dimension; like torch's own no view, so that methods may add to it in place."""
    rows = linear(inputs.reshape(-1, inputs.shape[-1]), weight, bias)
    return cast(Tensor, torch.ops.aten._unsafe_view.default(rows, (*inputs.shape[:-1], len(weight))))
