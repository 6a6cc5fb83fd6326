"""Results of operations on ``meta``, remembered: what an operation makes of shapes it has made of them before.

Most of ``meta`` is written in Python and takes a tenth of a millisecond to find a shape; layers that are alike ask for
the same shapes again and again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

__all__ = ["ShapeMemory"]

MOST = 100_000
"""Results kept; then it begins anew."""

_Made = tuple[tuple[torch.Size, tuple[int, ...], torch.dtype], ...]


class ShapeMemory:
    """Calls operations on ``meta`` tensors, each once for the same shapes, strides, types and other arguments."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[_Made, type | None]] = {}
        self._sorts: dict[Any, str] = {}

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What ``func(*args, **kwargs)`` gives."""
        sort = self._sorts.get(func)
        if sort is None:
            sort = self._sorts[func] = _sort(func)
        if sort == "other":
            return func(*args, **kwargs)
        if sort == "in place":
            first = args[0][0] if isinstance(args[0], list | tuple) else args[0]
            if not first.is_meta:
                return func(*args, **kwargs)
            return args[0] if func._schema.returns else None  # where there are no values, nothing is changed
        try:
            key = (func, _key(args), _key(tuple(kwargs.items())) if kwargs else None)
        except _NotMeta:
            return func(*args, **kwargs)
        known = self._made.get(key)
        if known is None:
            result = func(*args, **kwargs)
            self._remember(key, result, args)
            return result
        made = [torch.empty_strided(size, stride, dtype=dtype, device="meta") for size, stride, dtype in known[0]]
        return made[0] if known[1] is None else known[1](made)

    def _remember(self, key: tuple[Any, Hashable, Hashable], result: Any, args: tuple[Any, ...]) -> None:
        several = type(result) if isinstance(result, tuple | list) else None
        tensors = list(result) if several else [result]
        if not all(type(tensor) is Tensor and tensor.is_meta for tensor in tensors):
            return
        held = {arg.untyped_storage()._cdata for arg in _tensors(args)}
        for tensor in tensors:
            storage = tensor.untyped_storage()
            alike = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
            if storage._cdata in held or storage.nbytes() != alike.untyped_storage().nbytes():
                self._sorts[key[0]] = "other"  # it shares memory after all
                return
            held.add(storage._cdata)
        if len(self._made) >= MOST:
            self._made.clear()
        self._made[key] = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors), several


class _NotMeta(Exception):
    """A tensor with values, or an argument that cannot be compared."""


def _sort(func: Any) -> str:
    """Whether an operation makes tensors ``anew``, changes some ``in place`` and nothing else, or is an ``other``."""
    schema, name = func._schema, func._schema.name
    arguments = [*schema.arguments, *schema.returns]
    if not any("Tensor" in str(argument.type) for argument in schema.arguments):
        return "other"
    if all(argument.alias_info is None for argument in arguments):
        return "anew"
    pointwise = torch.Tag.pointwise in func.tags and len(schema.returns) == 1
    lists = name.startswith("aten::_foreach_") and not schema.returns
    first_alone = not any(argument.alias_info is not None for argument in schema.arguments[1:])
    return "in place" if name.endswith("_") and first_alone and (pointwise or lists) else "other"


def _key(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        if not value.is_meta:
            raise _NotMeta
        return value.shape, value.stride(), value.dtype
    if isinstance(value, tuple | list):
        return tuple([_key(item) for item in value])
    if value is None or isinstance(value, str | torch.dtype | torch.device | torch.layout | torch.memory_format):
        return value
    if isinstance(value, bool | int | float):
        return type(value), value  # 1, 1.0 and True make different types
    raise _NotMeta


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, tuple | list) else []
