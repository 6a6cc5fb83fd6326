"""Selective recomputation: what the backward pass computes again is cheap, and what it keeps is dear.

A block's input is kept, and the products of matrices and attention in it; norms, activations, rotations, casts, sums
and dropout are computed again from these, block by block. That is a small part of the arithmetic and most of the
memory. The last product is not kept: what it gives is the next block's input, and in most blocks nothing before that
needs it.
(Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", 2022.)

PyTorch's own contexts for it (``create_selective_checkpoint_contexts``, 2.13) go wrong without a word where what was
kept is added to in place (``result += adapter``, as some methods have it): the sum would be added to again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from peftscope.training.eager_mode import EagerMode

__all__ = ["recompute_contexts"]

PRODUCTS = {
    **dict.fromkeys(("aten::mm", "aten::bmm"), 0),
    **dict.fromkeys(("aten::addmm", "aten::baddbmm"), 1),
    **dict.fromkeys(("aten::_scaled_mm", "aten::_grouped_mm", "aten::convolution", "mkldnn::_linear_pointwise"), None),
    **dict.fromkeys(("bitsandbytes::gemm_4bit", "bitsandbytes::int8_scaled_mm"), None),
}
"""Of those of two plain matrices, the place of the first among the arguments."""
THIN = 12
"""A product so many times as wide as its inner dimension is cheap for what it takes: an adapter's second factor …"""
SHORT = 64
"""… and so is one whose inner dimension is no longer: what it computes takes no longer than reading what was kept."""


def recompute_contexts() -> tuple[Any, Any]:
    """Contexts of a block's forward pass and of its second one, as ``torch.utils.checkpoint`` takes them."""
    kept: list[tuple[Any, Any]] = []
    return _Keeping(kept), _Recalling(kept)


class _Keeping(EagerMode):  # type: ignore[no-untyped-call]
    """Keeps what dear operations give.

    Args:
        kept: Takes operations and what they gave, in order.
    """

    def __init__(self, kept: list[tuple[Any, Any]]) -> None:
        super().__init__()
        self.kept = kept
        self._places: dict[int, int] = {}
        """By their storages."""
        self._last: tuple[Any, Any] | None = None
        """The last one; at the block's end it is dropped."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        sort = _SORTS.get(func) or _sort(func)
        if sort is _CHEAP:
            return func(*args, **kwargs) if kwargs else func(*args)
        if sort.writes:
            self._save_from(func, args)
        out = func(*args, **(kwargs or {}))
        if sort.is_dear(args):
            if self._last is not None:
                self.kept.append(self._last)
            for tensor in out if isinstance(out, tuple) else (out,):
                if isinstance(tensor, Tensor):
                    self._places[tensor.untyped_storage()._cdata] = len(self.kept)
            self._last = func, _detached(out)
        return out

    def __exit__(self, *failure: Any) -> None:
        self._last = None
        super().__exit__(*failure)

    def _save_from(self, func: Any, args: tuple[Any, ...]) -> None:
        """Copy what is kept and about to be changed."""
        for argument, value in zip(func._schema.arguments, args):
            if argument.alias_info is None or not argument.alias_info.is_write or not isinstance(value, Tensor):
                continue
            place = self._places.pop(value.untyped_storage()._cdata, None)
            if place is None:
                continue
            if place == len(self.kept):
                self._last = _copied(self._last)
            else:
                self.kept[place] = _copied(self.kept[place])


class _Recalling(EagerMode):  # type: ignore[no-untyped-call]
    """Gives what was kept in place of doing it again, and forgets it."""

    def __init__(self, kept: list[tuple[Any, Any]]) -> None:
        super().__init__()
        self.kept = kept
        self._next = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        sort = _SORTS.get(func) or _sort(func)
        if sort is _CHEAP or not sort.is_dear(args) or self._next == len(self.kept):
            # Where all that was kept is used up, this is the last one, in a block that needs it after all.
            return func(*args, **kwargs) if kwargs else func(*args)
        of, out = self.kept[self._next]
        assert of is func, f"{func} is not what the first forward pass did here"
        self.kept[self._next] = None, None
        self._next += 1
        return out


@dataclass(frozen=True, kw_only=True)
class _Sort:
    """What is to be known of an operation."""

    is_product: bool
    """Or attention."""
    first: int | None = None
    """Of a product of two matrices, the place of the first among the arguments."""
    writes: bool = False
    """Into what it is given."""

    def is_dear(self, args: tuple[Any, ...]) -> bool:
        """Whether what it gives of some arguments is to be kept."""
        if self.first is None:
            return self.is_product
        inner, width = args[self.first].shape[-1], args[self.first + 1].shape[-1]
        return bool(inner > SHORT and inner * THIN > width)


_CHEAP = _Sort(is_product=False)
_SORTS: dict[Any, _Sort] = {}


def _sort(func: Any) -> _Sort:
    name: str = func._schema.name
    writes = any(given.alias_info is not None and given.alias_info.is_write for given in func._schema.arguments)
    is_product = name in PRODUCTS or (any(word in name for word in ("attention", "attn")) and "backward" not in name)
    found = _Sort(is_product=is_product, first=PRODUCTS.get(name), writes=writes)
    _SORTS[func] = found = _CHEAP if found == _CHEAP else found
    return found


def _detached(out: Any) -> Any:
    """Without the graph it is about to get."""
    return out.detach() if isinstance(out, Tensor) else tuple(map(_detached, out)) if isinstance(out, tuple) else out


def _copied(kept: Any) -> Any:
    of, out = kept
    return of, out.clone() if isinstance(out, Tensor) else tuple(map(_cloned, out))


def _cloned(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
