"""Whoever sees every operation does it at the price of a call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from peftscope.measures.storage import LiveStorage
from peftscope.training.cheap_recomputation import recompute_contexts


class Usual(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


def _is_wrapped(mode: object) -> bool:
    """Whether PyTorch has put its own function, which keeps the compiler away, around a mode's."""
    return Path(type(mode).__torch_dispatch__.__code__.co_filename).name == "_compile.py"  # type: ignore[attr-defined]


def test_modes_are_called_without_what_keeps_the_compiler_away() -> None:
    assert _is_wrapped(Usual())
    assert not any(_is_wrapped(mode) for mode in (LiveStorage(), *recompute_contexts()))
