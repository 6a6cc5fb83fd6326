"""How many seeds: a list, or few for all and more where they decide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from peftscope.schema.base import Frozen

__all__ = ["PLANNED", "RACE", "RACED_FROM", "Looks", "SeedPlan", "race_share"]

PLANNED = 0.9
"""Share of the error that planned looks have; the first added one has the same share of what is left, and so on."""
RACE = 0.05
"""Share of the error that eliminating methods on the way has, raced or not, so that either can follow the other."""
FIRST = 2 / 3
"""Of that, what the first look of a race has; the next has the same part of the rest, and so on."""
RACED_FROM = 2
"""Seeds of every method before the first look of a race: with one nobody knows how far seeds scatter."""


def race_share(number: int) -> float:
    """Of the error, for the next look of the race after ``number`` others: it does not hang on how many follow.

    Looks are kept with the study and none is taken twice (``tuning.racing``), so whatever is added to it or taken away,
    and however often it is stopped, all of them together spend ``RACE`` at most. Under other conditions (data, weights)
    every run is made again, and looks begin anew.

    >>> [round(race_share(number), 4) for number in range(3)]
    [0.0333, 0.0111, 0.0037]
    """
    return RACE * FIRST * (1.0 - FIRST) ** number


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
        later = (_share_of_added(number) for number in range(added))
        return (*[PLANNED / self.num_planned] * self.num_planned, *later)

    @property
    def share_of_the_next(self) -> float:
        """Of the error, for a look that is not among these."""
        return _share_of_added(len(self.seeds) - self.num_planned)


def _share_of_added(number: int) -> float:
    """Of the error, for the looks added after a verdict, counted from 0."""
    return (1.0 - PLANNED - RACE) * PLANNED * (1.0 - PLANNED) ** number


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
