"""Keeping a package from being imported for a while, though it is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["imported_later"]


@contextmanager
def imported_later(name: str) -> Iterator[None]:
    """While entered, importing a package raises ``ImportError``; whoever only asks whether it is there hears yes.

    A package that is imported already stays, and one that is not installed is not there either way.
    """
    finder = _Later(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Later(MetaPathFinder, Loader):
    """Finds one package where the others find it, and does not load it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec that does not load; None for all other names, and where no other finder knows this one."""
        others = (finder for finder in sys.meta_path if finder is not self)
        if fullname != self.name or all(finder.find_spec(fullname, path, target) is None for finder in others):
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The one Python makes."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Refuse."""
        raise ImportError(f"{self.name} is imported later, by whoever needs it", name=self.name)
