"""How many seeds: a list, or few for all and more where they decide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from peftscope.schema.base import Frozen

__all__ = ["PLANNED", "Looks", "SeedPlan"]

PLANNED = 0.9
"""Share of the error that planned looks have; the first added one has the same share of the rest, and so on."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Seeds a study was, or may be, judged by (``analysis.looks``)."""

    seeds: tuple[tuple[int, ...], ...]
    """Of each look all there were; every look has those of the one before, and more."""
    num_planned: int = 1
    """The first so many looks were planned; the others were added after a verdict."""

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the error, one per look."""
        added = len(self.seeds) - self.num_planned
        later = (PLANNED * (1.0 - PLANNED) ** (number + 1) for number in range(added))
        return (*[PLANNED / self.num_planned] * self.num_planned, *later)

    @property
    def share_of_the_next(self) -> float:
        """Of the error, for a look that is not among these."""
        return PLANNED * (1.0 - PLANNED) ** (len(self.seeds) - self.num_planned + 1)


class SeedPlan(Frozen):
    """Seeds 0, 1, … for every method at first, and more for those between which they decide."""

    first: int = Field(default=3, ge=2, le=100)
    """Seeds of every method."""
    most: int = Field(default=10, ge=3, le=100)
    """Seeds of a method at most."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.most <= self.first:
            raise ValueError(f"most: {self.most} is no more than first, {self.first}; a list of seeds says as much")
        return self

    @property
    def seeds(self) -> tuple[int, ...]:
        """All that may be used."""
        return tuple(range(self.most))

    @property
    def counts(self) -> tuple[int, ...]:
        """Seeds at each look, a third more each time.

        >>> SeedPlan(first=3, most=10).counts
        (3, 4, 6, 8, 10)
        """
        counts = [self.first]
        while counts[-1] < self.most:
            counts.append(min(math.ceil(counts[-1] * 4 / 3), self.most))
        return tuple(counts)

    @property
    def looks(self) -> Looks:
        """The same as seeds."""
        counts = self.counts
        return Looks(seeds=tuple(self.seeds[:count] for count in counts), num_planned=len(counts))
