"""Tasks by name. Built-in ones stand here; others come from the entry-point group ``peftscope.tasks``.

A plug-in is an entry point whose object is a ``TaskEntry``, in a module that imports no torch::

    [project.entry-points."peftscope.tasks"]
    my-task = "my_package.entry:TASK"

    TASK = TaskEntry(task="my_package.task:MyTask", options="my_package.entry:MyOptions", kinds=("my-kind",))

The task's class is called with ``(options, context)``: its own options and a ``TaskContext``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from peftscope.errors import SpecError
from peftscope.models.kinds import registry as kinds
from peftscope.plugins import Registry, load_target
from peftscope.schema.metric import MetricSpec
from peftscope.schema.reader import problems_of
from peftscope.schema.study import ModelSpec, TaskSpec
from peftscope.tasks.images.metric_names import CONCEPT_METRICS
from peftscope.tasks.options import TaskOptions
from peftscope.tasks.text.metric_names import ALSO

if TYPE_CHECKING:  # torch comes with the contract, and names must be listed without it
    from peftscope.models.kinds.base import ModelKind
    from peftscope.tasks.base import Task, TaskContext

__all__ = [
    "PICTURES_TASK",
    "ROWS_TASK",
    "TASKS",
    "TaskEntry",
    "cache_task",
    "create",
    "import_built_in",
    "kind_of",
    "options_model",
    "options_of",
    "servers_of",
    "task_names",
    "unit_of",
]


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """Where a task's class and its options are; nothing is imported before it is asked for."""

    task: str
    """``module:class`` of the task."""
    options: str
    """``module:class`` of its options, a ``TaskOptions`` in a module that imports no torch."""
    kinds: tuple[str, ...] = ("causal-lm",)
    """Kinds of models it is learned on."""
    metrics: tuple[MetricSpec, ...] = ()
    """What its ``answer_facts`` give beside what every task's can."""
    unit: str = "tokens"
    """What its batches are counted in, as the task's class has it."""


TASKS = Registry(
    "task",
    "peftscope.tasks",
    TaskEntry,
    {
        "math": TaskEntry(
            task="peftscope.tasks.text.math:MathTask", options="peftscope.tasks.text.options:MathOptions"
        ),
        "own-data": TaskEntry(
            task="peftscope.tasks.text.own_data:OwnDataTask",
            options="peftscope.tasks.text.options:OwnDataOptions",
            metrics=ALSO,
        ),
        "concept": TaskEntry(
            task="peftscope.tasks.images.concept:ConceptTask",
            options="peftscope.tasks.images.options:ConceptOptions",
            kinds=("text-to-image",),
            metrics=CONCEPT_METRICS,
            unit="images",
        ),
    },
)


ROWS_TASK = "own-data"
"""The task that a user's own rows are learned by."""


PICTURES_TASK = "concept"
"""The task that a user's own pictures are learned by."""


def task_names() -> tuple[str, ...]:
    """Names of all tasks, in alphabetical order.

    >>> task_names()[:2]
    ('concept', 'math')
    """
    return TASKS.names()


def unit_of(name: str) -> str:
    """What a task's batches are counted in; ``units`` where nobody here knows the task."""
    return TASKS.get(name).unit if name in TASKS.names() else "units"


def servers_of(name: str) -> frozenset[str] | None:
    """What loads a LoRA of a model that a task is learned on; None where nobody here knows the task.

    >>> sorted(servers_of("math"))
    ['llama.cpp', 'vllm']
    """
    if name not in TASKS.names():
        return None
    return frozenset(server for kind in TASKS.get(name).kinds for server in kinds.KINDS.get(kind).servers)


def import_built_in() -> None:
    """Import the built-in tasks, for a process that others are forked from."""
    for entry in TASKS.built_in.values():
        load_target(entry.task)


def options_model(name: str) -> type[TaskOptions]:
    """The model of a task's options.

    Raises:
        SpecError: There is no such task.
        PlugInError: It is another package's and cannot be loaded.
    """
    return cast("type[TaskOptions]", TASKS.load(name, TASKS.get(name).options, TaskOptions))


def options_of(spec: TaskSpec) -> TaskOptions:
    """A task's options, checked.

    Raises:
        SpecError: There is no such task, or with every problem in its options.
        PlugInError: The task is another package's and cannot be loaded.
    """
    model = options_model(spec.name)
    try:
        return model.model_validate(spec.options)
    except ValidationError as error:
        raise SpecError(f"task {spec.name}", problems_of(error, model)) from None


def kind_of(model: ModelSpec, task: TaskSpec) -> ModelKind:
    """The kind of model a task is learned on, as the user says or as the source is.

    Raises:
        ModelError: The task is not learned on the kind the user says, or the source is of none it is learned on.
        SpecError: There is no such kind or task.
        PlugInError: One of them is another package's and cannot be loaded.
    """
    return kinds.choose(model, TASKS.get(task.name).kinds)


def create(spec: TaskSpec, context: TaskContext, *, cached: Path | None = None) -> Task:
    """Build a task; this reads and checks its data, or loads what ``keep`` has written.

    Args:
        spec: Name and options.
        context: What the study fixes; with ``cached``, the same as when it was cached.
        cached: A folder ``cache_task`` gave. Where it is damaged the task is built from its data, with a warning.

    Raises:
        SpecError: There is no such task, or with every problem in its options.
        DataError: Its data is missing, empty, unreadable or does not fit the limits.
        PlugInError: The task is another package's and cannot be loaded.
    """
    from peftscope.tasks import caching as caching  # torch comes with these
    from peftscope.tasks.base import Task

    options = options_of(spec)
    task_class: type[Task] = TASKS.load(spec.name, TASKS.get(spec.name).task, Task)
    if cached is None:
        task: Task = task_class(options, context)  # type: ignore[call-arg]
        return task
    return caching.load_task(task_class, options, context, cached)


def cache_task(task: Task, cache: Path) -> Path:
    """Write a task into a folder of its own, once: the folder that ``create`` loads it from again.

    Args:
        task: As ``create`` made it.
        cache: The folder's parent, such as ``cache`` in a study's folder.

    Raises:
        StoreError: The cache cannot be written to.
        DataError: The data that forgetting and drift are measured on cannot be read or are too few.
    """
    from peftscope.tasks import caching as caching  # torch comes with it

    return caching.cache_task(task, cache)
