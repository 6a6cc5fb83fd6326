"""What is remembered of an operation is what it gives; what shares memory or has values is not remembered."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from peftscope.footprint.meta_shapes import ShapeMemory

aten: Any = torch.ops.aten


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(*shape, dtype=dtype, device="meta")


def _facts(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.shape, result.stride(), result.dtype, result.untyped_storage().nbytes()
    return [_facts(item) for item in result]


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.mul.Tensor, (_meta(3, 4), _meta(4))),
        (aten.mul.Tensor, (_meta(3, 4).t(), 2)),
        (aten.add.Tensor, (_meta(3, dtype=torch.int64), 1.5)),
        (aten.add.Tensor, (_meta(3, dtype=torch.int64), 1)),
        (aten.mm.default, (_meta(3, 4), _meta(4, 5))),
        (aten._to_copy.default, (_meta(3, 4).t(),)),
        (aten.cat.default, ([_meta(3, 4), _meta(2, 4)],)),
        (aten.native_layer_norm.default, (_meta(2, 6), [6], None, None, 1e-5)),
        (aten._foreach_sqrt.default, ([_meta(3), _meta(2, 2)],)),
    ],
)
def test_a_repeated_call_gives_the_same_result_as_the_first(func: Any, args: tuple[Any, ...]) -> None:
    memory = ShapeMemory()
    first, second = memory.call(func, args, {}), memory.call(func, args, {})
    assert _facts(first) == _facts(second) == _facts(func(*args))


def test_float_and_integer_arguments_are_cached_separately() -> None:
    memory, ids = ShapeMemory(), _meta(3, dtype=torch.int64)
    assert memory.call(aten.mul.Tensor, (ids, 1), {}).dtype == torch.int64
    assert memory.call(aten.mul.Tensor, (ids, 1.0), {}).dtype == torch.float32


@pytest.mark.parametrize("func", [aten.view.default, aten._unsafe_view.default, aten.alias.default])
def test_a_view_shares_storage_with_its_tensor_on_every_call(func: Any) -> None:
    memory, tensor = ShapeMemory(), _meta(3, 4)
    args = (tensor,) if func is aten.alias.default else (tensor, [12])
    for _ in range(3):
        assert memory.call(func, args, {}).untyped_storage()._cdata == tensor.untyped_storage()._cdata


def test_an_in_place_change_returns_the_tensor_and_updates_its_values() -> None:
    memory, tensor = ShapeMemory(), _meta(3)
    assert memory.call(aten.mul_.Tensor, (tensor, 2.0), {}) is tensor
    with_values = torch.ones(3)
    for _ in range(2):
        memory.call(aten.mul_.Tensor, (with_values, 2.0), {})
    assert with_values.tolist() == [4.0, 4.0, 4.0]


def test_real_values_are_recomputed_on_every_call() -> None:
    memory = ShapeMemory()
    assert [float(memory.call(aten.add.Tensor, (torch.tensor(x), 1.0), {})) for x in (1.0, 2.0)] == [2.0, 3.0]
