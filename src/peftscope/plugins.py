"""What can be added by name from outside: built-in entries, and those that other packages register as entry points."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from importlib import import_module, metadata
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar

from peftscope.capture import capture
from peftscope.errors import PlugInError, SpecError, unknown_name

__all__ = ["Registry", "load_target", "made_by"]

Entry = TypeVar("Entry")


@cache
def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """What installed packages register; looked up once a process, since it reads the metadata of every package."""
    return tuple(metadata.entry_points(group=group))


class Registry(Generic[Entry]):
    """Entries by name; none is imported before it is asked for.

    Args:
        what: What an entry is, as messages call it: ``task``, ``kind of model``, …
        group: The entry-point group in which other packages register theirs.
        entry_type: What an entry point's object must be an instance of.
        built_in: Our own.
    """

    def __init__(self, what: str, group: str, entry_type: type[Entry], built_in: Mapping[str, Entry]) -> None:
        self.what, self.group = what, group
        self._entry_type = entry_type
        self._built_in = dict(built_in)

    @property
    def built_in(self) -> Mapping[str, Entry]:
        """Our own entries."""
        return self._built_in

    def names(self) -> tuple[str, ...]:
        """Of all entries, in alphabetical order."""
        return tuple(sorted({*self._built_in, *self._points()}))

    def get(self, name: str) -> Entry:
        """The entry of a name.

        Raises:
            SpecError: There is none.
            PlugInError: It is another package's, and cannot be loaded or is not what it should be.
        """
        if name in self._built_in:
            return self._built_in[name]
        point = self._points().get(name)
        if point is None:
            raise SpecError(self.what, [unknown_name(self.what, name, self.names())])
        found = self._loaded(name, point.load)
        if not isinstance(found, self._entry_type):
            raise PlugInError(f"{self._named(name)}: {point.value} is no {self._entry_type.__name__}")
        return found

    def load(self, name: str, target: str, base: type) -> Any:
        """The class behind an entry's ``module:class``.

        Raises:
            PlugInError: Another package's cannot be imported, or does not derive from what it should.
        """
        found = load_target(target) if name in self._built_in else self._loaded(name, lambda: load_target(target))
        if not (isinstance(found, type) and issubclass(found, base)):
            raise PlugInError(f"{self._named(name)}: {target} does not derive from {base.__name__}")
        return found

    def _loaded(self, name: str, load: Any) -> Any:
        found: list[Any] = []
        failure = capture(lambda: found.append(load()))
        if failure is not None:
            raise PlugInError(f"{self._named(name)} cannot be loaded: {failure.reason}")
        return found[0]

    def _named(self, name: str) -> str:
        point = self._points().get(name)
        return f"{self.what} {name!r}" + (f" of {_package(point)}" if point is not None else "")

    def _points(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            if point.name in self._built_in or point.name in found:
                warnings.warn(
                    f"{self.what} {point.name!r} of {_package(point)} is left out: the name is taken", stacklevel=3
                )
            else:
                found[point.name] = point
        return found


def load_target(target: str) -> Any:
    """The object behind ``module:object``.

    >>> load_target("math:pi") > 3
    True
    """
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def made_by(thing: object) -> str:
    """The package a class or an object is of, for messages about what it did.

    >>> made_by(Registry)
    'peftscope'
    """
    owner = thing if isinstance(thing, type) else type(thing)
    return owner.__module__.partition(".")[0]


def _package(point: EntryPoint) -> str:
    return f"package {point.dist.name} {point.dist.version}" if point.dist is not None else point.value
