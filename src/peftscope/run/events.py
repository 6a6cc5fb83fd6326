"""Who wants to know how a study gets on: progress displays, logs, trackers."""

from __future__ import annotations

from collections.abc import Sequence

from peftscope.spec.live import RunState
from peftscope.spec.record import RunRecord
from peftscope.spec.run import RunSpec

__all__ = ["Listener"]


class Listener:
    """Told how the runs of a study get on. All calls come from one thread; override what is wanted."""

    def planned(self, runs: Sequence[RunSpec], found: Sequence[RunRecord], num_workers: int) -> None:
        """Once, before anything starts: every run of the study, and the records of those that are done already."""

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
