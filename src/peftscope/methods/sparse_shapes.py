"""Sparse parts of methods on ``meta``, which has no sparse tensors: what they keep, take and give, by shape."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["frod_product", "frod_tensors", "shira_update"]

HALF = (torch.float16, torch.bfloat16)


def shira_update(layer: Any, adapter: str) -> Tensor:
    """SHiRA's update: a tensor of the weight's shape that takes no room."""
    values = layer.shira_weight[adapter] * layer.scaling[adapter]
    update: Tensor = _Places.apply(values, (layer.out_features, layer.in_features), False)  # type: ignore[no-untyped-call]
    return update


def frod_tensors(
    layer: Any, adapter: str, *, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """FRoD's projections, its sparse factor's values, and its diagonal, of the type asked for."""
    held = (layer.frod_U, layer.frod_V, layer.frod_lambda_s_values, layer.frod_lambda_l)
    left, right, values, diagonal = (tensors[adapter].to(dtype=dtype) for tensors in held)
    return left, right, values, diagonal


def frod_product(layer: Any, flat: Tensor, values: Tensor) -> Tensor:
    """Activations (N, D) by the sparse factor (D, D), which is spread out for it in half precision."""
    width = flat.shape[-1]
    if flat.dtype in HALF:
        dense: Tensor = _Places.apply(values, (width, width), True)  # type: ignore[no-untyped-call]
        return flat @ dense.t()
    product: Tensor = _SparseProduct.apply(values, flat)  # type: ignore[no-untyped-call]
    return product


class _Places(torch.autograd.Function):
    """Values at places of a matrix, whose gradient is read off at the places; both are kept for it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, shape: tuple[int, int], dense: bool) -> Tensor:
        ctx.like = values.shape
        ctx.save_for_backward(values, values.new_empty(2, len(values), dtype=torch.long))
        return values.new_empty(shape) if dense else values.new_empty(1, 1).expand(shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        flat = grad.new_empty(ctx.like, dtype=torch.long)
        picked = grad.new_empty(ctx.like)
        del flat
        return picked, None, None


class _SparseProduct(torch.autograd.Function):
    """Product with a sparse matrix; the gradient of that is a whole matrix before it is read off."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, flat: Tensor) -> Tensor:
        ctx.save_for_backward(values, values.new_empty(2, len(values), dtype=torch.long), flat)
        return torch.empty_like(flat)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        values, _, flat = ctx.saved_tensors
        whole = grad.new_empty(flat.shape[-1], flat.shape[-1])
        picked = torch.empty_like(values)
        del whole
        return picked, torch.empty_like(flat)
