"""What can be known to be wrong before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peftscope.models.load import load_tokenizer
from peftscope.models.source import locate
from peftscope.spec.metric import MetricSpec
from peftscope.spec.run import RunSpec
from peftscope.tasks import registry
from peftscope.tasks.base import TaskContext

__all__ = ["Checked", "check"]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the runs of a study share, as it is on disk now."""

    metric: MetricSpec
    """The task's metric."""
    data: dict[str, Any]
    """Fingerprint of the task and its data."""
    weights_sha256: str
    """Hash of the base model's weight files."""


def check(run: RunSpec) -> Checked:
    """Read and check model and data of a study by one of its runs; all of them share both.

    Raises:
        ModelError: The base model is not there, or its tokenizer cannot be loaded.
        DataError: A file, column or split is missing or empty, or a prompt is over the limit.
        SpecError: The task's options are wrong.
    """
    task = registry.create(run.task, TaskContext.of(run.train, load_tokenizer(run.model)))
    task.retention(run.measure)
    return Checked(metric=task.metric, data=task.fingerprint(), weights_sha256=locate(run.model).weights_sha256)
