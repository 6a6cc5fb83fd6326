"""The memory and work of kernels that ``meta`` takes apart, without the kernels: shapes in, shapes out.

Attention: ``meta`` would take it apart into matrices of length × length that no accelerator ever holds. PyTorch picks
the memory-efficient kernel where there is a mask, as in a padded batch, and the flash kernel where there is none; on a
CPU the flash kernel takes both.

Block diagonals: ``meta`` would pad and join block by block, where a kernel fills one matrix.

Products of groups of rows, each with a matrix of its own (experts): ``meta`` takes bfloat16 alone and counts no work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from typing import Any, Literal, Self
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["MetaKernels", "Target", "attention_flops"]

Target = Literal["accelerator", "cpu"]
"""What a step is meant for: an accelerator with a caching allocator, or the CPU."""

MASK_ALIGNMENT = 16
"""Elements the memory-efficient kernel pads the last dimension of a mask to."""
LSE_ALIGNMENT = 32
"""Elements it pads the rows of its log-sum-exp to."""


class MetaKernels:
    """Context in which attention and block diagonals on ``meta`` take and give what their kernels would.

    Args:
        target: Whose kernels.
        add_flops: Told the floating-point operations of each pass but attention's forward one, which is an operation
            that a mode sees (``peftscope::attention_of_shapes``).
    """

    def __init__(self, target: Target, add_flops: Callable[[int], None]) -> None:
        self.target = target
        self.add_flops = add_flops
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        # Patched and no mode of torch's: a mode is off during a backward pass, where checkpointing goes forward again.
        for owner, name, stand_in in (
            (F, "scaled_dot_product_attention", self._attention),
            (torch, "block_diag", _block_diagonal),
            (F, "grouped_mm", self._grouped),
        ):
            on_meta = _only_on_meta(getattr(owner, name), stand_in)
            self._stack.enter_context(mock.patch.object(owner, name, on_meta))
        self._stack.enter_context(mock.patch.object(torch, "autocast", _autocast(torch.autocast)))
        packed = sys.modules.get("bitsandbytes.autograd._functions")
        if packed is not None and self.target == "cpu":  # where it multiplies 8-bit weights after unpacking them
            self._stack.enter_context(mock.patch.object(packed, "MatMul8bitLt", packed.MatMul8bitFp))
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def _attention(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, **__: Any
    ) -> Tensor:
        """Shapes: query (B, H, Q, D), key and value (B, G, K, D) with G heads or a divisor of H."""
        bias = None if attn_mask is None else self._bias(attn_mask, query)
        out: Tensor = _Fused.apply(query, key, value, bias, self)  # type: ignore[no-untyped-call]
        return out

    def _grouped(self, rows: Tensor, weights: Tensor, *, offs: Tensor, **_: Any) -> Tensor:
        """Shapes: rows (S, I), weights (E, I, O) of E experts, offs (E); gives (S, O)."""
        out: Tensor = _GroupedProduct.apply(rows, weights, self)  # type: ignore[no-untyped-call]
        return out

    def _bias(self, mask: Tensor, query: Tensor) -> Tensor:
        """A mask as the kernel takes it: numbers, padded."""
        if mask.dtype == torch.bool:
            mask = torch.empty_like(mask, dtype=query.dtype)
        over = -mask.shape[-1] % MASK_ALIGNMENT
        if over and self.target == "accelerator":
            mask = F.pad(mask, (0, over))[..., : mask.shape[-1]]
        return mask


def _attended(query: Tensor, key: Tensor, value: Tensor, num_lse_rows: int) -> tuple[Tensor, Tensor]:
    """What attention gives and its log-sum-exp: (B, H, Q, D) and (B, H, rows)."""
    batch, heads, rows, _ = query.shape
    out = query.new_empty(batch, rows, heads, value.shape[-1]).transpose(1, 2)
    return out, torch.empty(batch, heads, num_lse_rows, dtype=torch.float32, device=query.device)


# An operation of its own, so that what keeps attention's result, and counts its work, knows it as it knows the kernels.
_LIBRARY: Any = torch.library.Library("peftscope", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define("attention_of_shapes(Tensor query, Tensor key, Tensor value, int num_lse_rows) -> (Tensor, Tensor)")
_LIBRARY.impl("attention_of_shapes", _attended, "Meta")


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, mode: MetaKernels) -> Tensor:
        rows = query.shape[-2]
        padded = rows if mode.target == "cpu" or bias is None else -(-rows // LSE_ALIGNMENT) * LSE_ALIGNMENT
        out: Tensor
        out, lse = torch.ops.peftscope.attention_of_shapes(query, key, value, padded)
        ctx.save_for_backward(query, key, value, bias, out, lse)
        ctx.mode = mode
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, bias, _, lse = ctx.saved_tensors
        ctx.mode.add_flops(attention_flops(query, key, value) * 5 // 2)
        delta = torch.empty_like(lse)
        grads = [torch.empty_like(tensor) for tensor in (query, key, value)]
        if ctx.mode.target == "accelerator" and bias is None and query.dtype != torch.float32:
            # The flash kernel sums the query's gradient in float32, and those of shared keys and values by head.
            summed = [torch.empty(query.shape, dtype=torch.float32, device=query.device)]
            if key.shape[1] != query.shape[1]:
                shape = (query.shape[0], query.shape[1], key.shape[2])
                summed += [query.new_empty(*shape, tensor.shape[-1]) for tensor in (key, value)]
            del summed
        del delta
        return (*grads, None, None)


class _GroupedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, mode: MetaKernels) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.mode = mode
        ctx.flops = 2 * rows.shape[0] * weights.shape[1] * weights.shape[2]
        mode.add_flops(ctx.flops)
        return rows.new_empty(rows.shape[0], weights.shape[2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weights = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        ctx.mode.add_flops(ctx.flops * sum(wanted))
        grads = [torch.empty_like(each) if is_wanted else None for each, is_wanted in zip((rows, weights), wanted)]
        return (*grads, None)


class _BlockDiagonal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *blocks: Tensor) -> Tensor:
        ctx.shapes = [tuple(block.shape) for block in blocks]
        rows, columns = (sum(sizes) for sizes in zip(*ctx.shapes, strict=True))
        return blocks[0].new_empty(rows, columns)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        # Where each block lies makes no difference without values; there may be a hundred thousand of them.
        views = {shape: grad[: shape[0], : shape[1]] for shape in set(ctx.shapes)}
        return tuple(views[shape] for shape in ctx.shapes)


def _autocast(real: Callable[..., Any]) -> Callable[..., Any]:
    """Autocast that is nothing on ``meta``, which knows none; layers switch it off by the device's name."""

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device_type == "meta" else real(device_type, *args, **kwargs)

    return autocast


def _only_on_meta(real: Callable[..., Any], stand_in: Callable[..., Any]) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        first = next(iter((*args, *kwargs.values())), None)
        on_meta = isinstance(first, Tensor) and first.is_meta
        return stand_in(*args, **kwargs) if on_meta else real(*args, **kwargs)

    return function


def _block_diagonal(*blocks: Tensor) -> Tensor:
    """Of matrices; shape (sum of rows, sum of columns)."""
    out: Tensor = _BlockDiagonal.apply(*blocks)  # type: ignore[no-untyped-call]
    return out


def attention_flops(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Of the forward pass; the backward pass takes two and a half times as many."""
    batch, heads, rows, width = query.shape
    return 2 * batch * heads * rows * key.shape[-2] * (width + value.shape[-1])
