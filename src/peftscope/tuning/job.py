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
        rungs = [point.step for point in record.curve if point.valid_loss is not None]
        return cls(run=record.spec, until=rungs[-1] if record.status == "eliminated" and rungs else None)

    def is_reached_by(self, record: RunRecord) -> bool:
        """Whether a run came as far as this start brings it, well or not; what was killed before did not."""
        if self.until is not None and record.has_passed(self.until):
            return True
        return record.status not in ("eliminated", "killed")

    @property
    def first_step(self) -> int:
        """Steps it has behind it when it starts: those to the rung before."""
        passed = [rung for rung in self.run.rungs if self.until is None or rung < self.until]
        return passed[-1] if passed else 0

    @property
    def num_steps(self) -> int:
        """Training steps it does."""
        return (self.until if self.until is not None else self.run.train.max_steps) - self.first_step
