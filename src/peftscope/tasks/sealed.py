"""A task whose test split cannot be read: what a trial sees, as long as its method's configuration is not frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peftscope.errors import SplitSealed
from peftscope.tasks.base import Task

__all__ = ["sealed"]


def sealed(task: Task) -> Task:
    """A task that passes everything on to another, but nothing that is asked of its test split.

    Whatever the contract has is passed on, new methods too: no default of the contract can take the task's place.
    Its fingerprint, a hash, stays: it says that trials and final runs had the same data.
    """
    passing: dict[str, Any] = {name: _member(name, member) for name, member in vars(Task).items() if name[0] != "_"}
    passing["__module__"] = type(task).__module__
    passing |= {name: getattr(task, name) for name in Task.__annotations__}
    kept_from: type[Task] = type("SealedTask", (Task,), passing)
    wrapper = kept_from()
    wrapper._sealed = task  # type: ignore[attr-defined]
    return wrapper


def _member(name: str, member: Any) -> Any:
    if isinstance(member, property):
        return property(lambda self: getattr(self._sealed, name))
    return _passed_on(name)


def _passed_on(name: str) -> Callable[..., Any]:
    def passed_on(self: Any, *args: Any, **named: Any) -> Any:
        if any(isinstance(value, str) and value == "test" for value in (*args, *named.values())):
            raise SplitSealed("the test split was asked for in a trial, before its method's configuration is frozen")
        return getattr(self._sealed, name)(*args, **named)

    return passed_on
