"""A task whose test split cannot be read: what a trial sees, as long as its technique's configuration is not frozen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from peftscope.errors import SplitSealed
from peftscope.spec.metric import MetricSpec
from peftscope.spec.study import MeasureSpec
from peftscope.tasks.base import Batch, Generate, Outcome, Retention, Shown, Split, Task

__all__ = ["SealedTask"]


class SealedTask(Task):
    """Passes everything on to a task, but nothing that reads its test split.

    Its fingerprint, a hash, stays: it says that trials and final runs had the same data.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        # the contract has these on the class; here they are those of whatever task is sealed
        self.name, self.version, self.unit = task.name, task.version, task.unit  # type: ignore[misc]

    @property
    def metric(self) -> MetricSpec:
        """The task's."""
        return self._task.metric

    def size(self, split: Split) -> int:
        """Number of examples in a split."""
        return self._task.size(_opened(split))

    def batches(self, seed: int) -> Iterator[Batch]:
        """Training batches."""
        return self._task.batches(seed)

    def eval_batches(self, split: Split) -> Iterator[Batch]:
        """Training or validation split once."""
        return self._task.eval_batches(_opened(split))

    def num_samples(self, batch: Batch) -> int:
        """Number of samples in a batch."""
        return self._task.num_samples(batch)

    def num_units(self, batch: Batch) -> int:
        """How much a batch trains on."""
        return self._task.num_units(batch)

    def longest_batch(self) -> Batch:
        """The batch with the largest memory need."""
        return self._task.longest_batch()

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The task's loss on a batch, which came from a split that may be read."""
        return self._task.loss(model, batch)

    def score(self, model: nn.Module, generate: Generate, split: Split) -> Sequence[Outcome]:
        """Outcomes of training or validation examples."""
        return self._task.score(model, generate, _opened(split))

    def show(self, split: Split, index: int) -> Shown:
        """An example of training or validation."""
        return self._task.show(_opened(split), index)

    def fingerprint(self) -> dict[str, Any]:
        """The task's."""
        return self._task.fingerprint()

    def retention(self, spec: MeasureSpec) -> Retention | None:
        """The task's."""
        return self._task.retention(spec)

    def warnings(self) -> Sequence[str]:
        """The task's."""
        return self._task.warnings()


def _opened(split: Split) -> Split:
    if split == "test":
        raise SplitSealed("the test split was asked for in a trial, before its technique's configuration is frozen")
    return split
