"""A run to be started, or to go on after a pause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec

__all__ = ["Job"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run to be started, or to go on."""

    run: RunSpec
    until: int | None = None
    """Rung at which it is to pause; None goes to the end."""

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """The start that brought a record where it is: to a rung, or to the end."""
        is_paused = record.status == "eliminated" and record.rungs
        return cls(run=record.spec, until=record.rungs[-1] if is_paused else None)

    def is_reached_by(self, record: RunRecord) -> bool:
        """Whether a run has come as far as this job would bring it, well or not; a killed one has not."""
        return self.has_paused(record) or record.status not in ("eliminated", "killed")

    def has_paused(self, record: RunRecord) -> bool:
        """Whether a run has paused at this job's rung."""
        return record.has_paused and self.until in record.rungs

    @property
    def first_step(self) -> int:
        """Steps it has behind it when it starts: those to the rung before."""
        passed = [rung for rung in self.run.rungs if self.until is None or rung < self.until]
        return passed[-1] if passed else 0

    @property
    def num_steps(self) -> int:
        """Training steps it does."""
        return (self.until if self.until is not None else self.run.train.max_steps) - self.first_step
