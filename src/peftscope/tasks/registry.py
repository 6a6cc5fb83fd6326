"""Tasks by name. Built-in ones stand here; others come from the entry-point group ``peftscope.tasks``.

A plug-in is an entry point whose object is a ``TaskEntry``, in a module that imports no torch::

    [project.entry-points."peftscope.tasks"]
    my-task = "my_package.entry:ENTRY"

    ENTRY = TaskEntry(task="my_package.task:MyTask", options="my_package.entry:MyOptions")

The task's class is called with ``(options, context)``: its own pydantic options and a ``TaskContext``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ValidationError

from peftscope.errors import SpecError, unknown_name
from peftscope.spec.reader import problems_of
from peftscope.spec.study import MeasureSpec, TaskSpec

if TYPE_CHECKING:  # torch comes with the contract, and names must be listed without it
    from peftscope.tasks.base import Task, TaskContext

__all__ = [
    "ENTRY_POINT_GROUP",
    "TaskEntry",
    "create",
    "import_built_in",
    "keep",
    "load_target",
    "options_model",
    "task_names",
]

ENTRY_POINT_GROUP = "peftscope.tasks"


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """Where a task's class and its options are; nothing is imported before it is asked for."""

    task: str
    """``module:class`` of the task."""
    options: str
    """``module:class`` of its options, a pydantic model in a module that imports no torch."""


_BUILT_IN: Mapping[str, TaskEntry] = {
    "math": TaskEntry(task="peftscope.tasks.math:MathTask", options="peftscope.tasks.options:MathOptions"),
    "own-data": TaskEntry(
        task="peftscope.tasks.own_data:OwnDataTask", options="peftscope.tasks.options:OwnDataOptions"
    ),
}


def task_names() -> tuple[str, ...]:
    """Names of all tasks, in alphabetical order.

    >>> task_names()[:2]
    ('math', 'own-data')
    """
    return tuple(sorted({*_BUILT_IN, *_plug_ins()}))


def import_built_in() -> None:
    """Import the built-in tasks, for a process that others are forked from."""
    for entry in _BUILT_IN.values():
        load_target(entry.task)


def options_model(name: str) -> type[BaseModel]:
    """The pydantic model of a task's options.

    Raises:
        SpecError: There is no such task.
    """
    model = load_target(_entry(name).options)
    assert issubclass(model, BaseModel), f"the options of {name!r} are no pydantic model"
    return cast("type[BaseModel]", model)


def create(spec: TaskSpec, context: TaskContext, *, kept: Path | None = None) -> Task:
    """Build a task; this reads and checks its data, or loads what ``keep`` has written.

    Args:
        spec: Name and options.
        context: What the study fixes; with ``kept``, the same as when it was kept.
        kept: A folder ``keep`` gave. Where it is damaged the task is built from its data, with a warning.

    Raises:
        SpecError: There is no such task, or with every problem in its options.
        DataError: Its data is missing, empty, unreadable or does not fit the limits.
    """
    model = options_model(spec.name)
    try:
        options = model.model_validate(spec.options)
    except ValidationError as error:
        raise SpecError(f"task {spec.name}", problems_of(error, model)) from None
    task_class: type[Task] = load_target(_entry(spec.name).task)
    if kept is None:
        task: Task = task_class(options, context)  # type: ignore[call-arg]
        return task
    from peftscope.tasks import keeping  # torch comes with it

    return keeping.load(task_class, options, context, kept)


def keep(task: Task, cache: Path, *, measure: MeasureSpec | None = None) -> Path:
    """Write a task into a folder of its own, once: the folder that ``create`` loads it from again.

    Args:
        task: As ``create`` made it.
        cache: The folder's parent, such as ``cache`` in a study's folder.
        measure: What is measured beside the task's metric; the text for it is kept as well.

    Raises:
        StoreError: The cache cannot be written to.
        DataError: The text that forgetting and drift are measured on cannot be read or is too short.
    """
    from peftscope.tasks import keeping  # torch comes with it

    return keeping.keep(task, cache, measure)


def load_target(target: str) -> Any:
    """The object behind ``module:object``.

    >>> load_target("math:pi") > 3
    True
    """
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def _entry(name: str) -> TaskEntry:
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    plug_ins = _plug_ins()
    if name not in plug_ins:
        raise SpecError("task", [unknown_name("task", name, task_names())])
    entry = plug_ins[name].load()
    assert isinstance(entry, TaskEntry), f"entry point {plug_ins[name].value!r} is no TaskEntry"
    return entry


def _plug_ins() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name in _BUILT_IN or point.name in found:
            warnings.warn(f"task {point.name!r} of {point.value} is left out: the name is taken", stacklevel=3)
        else:
            found[point.name] = point
    return found
