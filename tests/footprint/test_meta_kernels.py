"""What stands in for a kernel has its shapes, gradients and work, in a first forward pass and in checkpointing's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from peftscope.footprint.meta_kernels import MetaKernels
from peftscope.footprint.trace import StepTrace


def _attend(*, checkpointed: bool = False) -> tuple[torch.Size, torch.Size, int]:
    query = torch.empty(2, 4, 16, 8, device="meta", requires_grad=True)
    key = torch.empty(2, 2, 16, 8, device="meta", requires_grad=True)
    with StepTrace([], "accelerator") as trace:

        def attend(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(q, k, k, is_causal=True, enable_gqa=True)

        out = checkpoint(attend, query, key, use_reentrant=False) if checkpointed else attend(query, key)
        out.sum().backward()
    assert query.grad is not None
    return out.shape, query.grad.shape, trace.flops


FORWARD = 2 * 2 * 4 * 16 * 16 * 16


def test_attention_counts_its_forward_and_backward_work() -> None:
    assert _attend() == ((2, 4, 16, 8), (2, 4, 16, 8), FORWARD + FORWARD * 5 // 2)


def test_checkpointing_counts_the_forward_pass_twice() -> None:
    assert _attend(checkpointed=True)[2] == _attend()[2] + FORWARD


def test_values_are_computed_by_the_real_kernels() -> None:
    blocks = [torch.full((2, 3), 1.0), torch.full((1, 2), 2.0)]
    query = torch.randn(1, 1, 4, 8)
    wanted = torch.block_diag(*blocks), F.scaled_dot_product_attention(query, query, query)
    with MetaKernels("cpu", lambda flops: None):
        got = torch.block_diag(*blocks), F.scaled_dot_product_attention(query, query, query)
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_meta_block_diagonals_have_the_real_shapes_and_gradients() -> None:
    blocks = torch.empty(5, 3, 2, device="meta", requires_grad=True)
    with MetaKernels("cpu", lambda flops: None):
        whole = torch.block_diag(*blocks.unbind())
        whole.sum().backward()
    assert whole.shape == (15, 10)
    assert blocks.grad is not None
    assert blocks.grad.shape == blocks.shape


def test_patched_torch_functions_are_restored_afterwards() -> None:
    before = F.scaled_dot_product_attention, torch.block_diag
    with pytest.raises(RuntimeError), MetaKernels("cpu", lambda flops: None):
        raise RuntimeError
    assert before == (F.scaled_dot_product_attention, torch.block_diag)
