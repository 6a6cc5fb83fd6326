"""What can be known to be wrong before anything is trained."""

from __future__ import annotations

from peftscope.models.load import load_tokenizer
from peftscope.spec.run import RunSpec
from peftscope.tasks import registry
from peftscope.tasks.base import Task, TaskContext

__all__ = ["check_data"]


def check_data(run: RunSpec) -> Task:
    """Read and check the data of a study by one of its runs; all of them share it.

    Raises:
        ModelError: The base model's tokenizer cannot be loaded.
        DataError: A file, column or split is missing or empty, or a prompt is over the limit.
        SpecError: The task's options are wrong.
    """
    context = TaskContext(
        tokenizer=load_tokenizer(run.model),
        batch_size=run.train.batch_size,
        max_length=run.train.max_length,
        loss_on=run.train.loss_on,
    )
    task = registry.create(run.task, context)
    task.retention(run.measure)
    return task
