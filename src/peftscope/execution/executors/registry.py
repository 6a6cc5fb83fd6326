"""Executors by name. Built-in ones stand here; others come from the entry-point group ``peftscope.executors``.

A plug-in is an entry point whose object is an ``ExecutorEntry``::

    [project.entry-points."peftscope.executors"]
    my-cluster = "my_package.entry:EXECUTOR"

    EXECUTOR = ExecutorEntry(executor="my_package.cluster:ClusterExecutor")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from peftscope.plugins import Registry

if TYPE_CHECKING:
    from peftscope.execution.executors.base import Executor

__all__ = ["EXECUTORS", "ExecutorEntry", "make"]


@dataclass(frozen=True, kw_only=True)
class ExecutorEntry:
    """Where an executor's class is; nothing is imported before it is asked for."""

    executor: str
    """``module:class``."""


EXECUTORS = Registry(
    "executor",
    "peftscope.executors",
    ExecutorEntry,
    {"local": ExecutorEntry(executor="peftscope.execution.executors.local:LocalExecutor")},
)


def make(name: str, folder: Path, base: Path) -> Executor:
    """The executor of a name, for one study.

    Args:
        name: Of the executor.
        folder: Of the study.
        base: Folder that relative paths of models and data are taken from.

    Raises:
        SpecError: There is none.
        PlugInError: It is another package's and cannot be loaded.
    """
    from peftscope.execution.executors.base import Executor

    found: Executor = EXECUTORS.load(name, EXECUTORS.get(name).executor, Executor)(folder)
    found.base = base.absolute()
    return found
