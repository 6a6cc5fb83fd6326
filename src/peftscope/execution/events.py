"""Who wants to know how a study gets on: progress displays, logs, trackers."""

from __future__ import annotations

from collections.abc import Sequence

from peftscope.schema.live import RunState
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.tuning.job import Job

__all__ = ["Listener"]


class Listener:
    """Told how the runs of a study get on. All calls come from one thread; override what is wanted."""

    def planned(self, runs: Sequence[RunSpec], found: Sequence[RunRecord], num_workers: int) -> None:
        """Once, before anything starts: the runs known by then, and the records of those that are done already."""

    def upcoming(self, jobs: Sequence[Job], num_runs: int) -> None:
        """Before ``planned`` and whenever it has changed: what is still to be started, and the number of runs in all.

        Where a search has not decided yet, other runs stand for those to come.
        """

    def started(self, run: RunSpec, state: RunState) -> None:
        """A run starts."""

    def moved(self, run: RunSpec, state: RunState) -> None:
        """A run has entered a stage, done a training step, or scored more examples; what is new is in the state."""

    def ended(self, run: RunSpec, record: RunRecord) -> None:
        """A run has ended, well or not."""

    def stopping(self) -> None:
        """The user asked to stop: runs under way end after their current step, no other starts."""

    def closed(self) -> None:
        """Once, after the last call, however the study ended."""
