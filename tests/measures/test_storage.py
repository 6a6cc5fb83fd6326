"""Promises of the primary memory figure where there is no accelerator."""

from __future__ import annotations

import torch
from torch import nn

from peftscope.measures.storage import LiveStorage, tensors_of

KB = 1024


def test_live_storage_is_counted_once_regardless_of_views() -> None:
    with LiveStorage() as storage:
        a = torch.zeros(256)  # 1 kB
        b = a.view(16, 16)[1:]
        assert storage.live_bytes == KB
        c = a + 1
        assert storage.live_bytes == 2 * KB
        del c
        assert storage.live_bytes == KB
        del a, b
    assert storage.live_bytes == 0
    assert storage.peak_bytes == 2 * KB


def test_tensors_saved_by_autograd_for_the_backward_pass_count() -> None:
    x = torch.zeros(256, requires_grad=True)
    with LiveStorage([x]) as storage:
        y = x.exp().exp().exp()  # each result is kept for its own derivative
        assert storage.live_bytes == 4 * KB
        y.sum().backward()
    assert storage.peak_bytes > 4 * KB


def test_existing_weights_count_and_tied_weights_count_once() -> None:
    model = nn.Sequential(nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False))
    model[1].weight = model[0].weight
    assert LiveStorage(tensors_of(model)).live_bytes == 16 * 16 * 4


def test_live_memory_does_not_grow_over_steps() -> None:
    model = nn.Linear(64, 64)
    optimizer = torch.optim.AdamW(model.parameters())
    live = []
    with LiveStorage(tensors_of(model)) as storage:
        for _ in range(5):
            model(torch.ones(8, 64)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            live.append(storage.live_bytes)
    assert len(set(live)) == 1
    weights = sum(p.numel() * 4 for p in model.parameters())
    assert 3 * weights <= live[0] <= 3 * weights + 64  # weights and AdamW's two moments, plus step counters


def test_modules_may_have_non_tensor_state() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].register_buffer("state", torch.zeros(3))
    model[1].state = {"a": 1}
    assert sum(tensor.numel() for tensor in tensors_of(model)) == 12 + 3


def test_weights_packed_by_onednn_are_counted_while_they_live() -> None:
    weight = torch.randn(64, 48)
    with torch.no_grad(), LiveStorage() as storage:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 8)
        held = storage.live_bytes
        del packed
    assert held == 64 * 48 * 4
    assert storage.live_bytes == 0
