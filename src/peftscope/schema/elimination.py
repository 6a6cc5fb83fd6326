"""A method that was eliminated on the way, and the looks of a race that decided it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from peftscope.schema.metric import MetricSpec

__all__ = ["Elimination", "RaceLook", "Worse", "renamed", "runs_of"]


@dataclass(frozen=True, kw_only=True)
class Worse:
    """One metric on which it was worse."""

    metric: MetricSpec
    value: float
    """Its own mean over the seeds that were looked at, in the metric's unit."""
    other: float
    """That of the method that was better."""


@dataclass(frozen=True, kw_only=True)
class Elimination:
    """What ended a method's trainings: another was detectably better on every metric."""

    method: str
    """Title of the candidate."""
    by: str
    """Title of the one that was better."""
    worse: tuple[Worse, ...]
    """The score first, then what training takes."""
    p_value: float
    """The largest over the metrics, corrected over all pairs that could have ended so."""
    run_ids: tuple[str, ...]
    """The method's runs that the look saw: all it has in the study, and what tells it when names change."""
    by_run_ids: tuple[str, ...]
    """Those of the one that was better; the elimination holds while that is in the study."""

    @property
    def num_seeds(self) -> int:
        """Seeds that the look saw."""
        return len(self.run_ids)


@dataclass(frozen=True, kw_only=True)
class RaceLook:
    """A look that was taken: it is not taken again, and what it decided stands."""

    run_ids: tuple[str, ...]
    """Runs of the methods that were in the race, one per method and seed that was looked at."""
    eliminated: tuple[Elimination, ...]
    quality_protocol: str | None
    """Conditions of the scores it saw; under others it counts for nothing."""

    def covers(self, run_ids: Iterable[str]) -> bool:
        """Whether a method with these runs was in the race."""
        return set(run_ids) <= set(self.run_ids)


def runs_of(eliminations: Iterable[Elimination]) -> frozenset[str]:
    """Runs of all eliminated methods that the looks saw."""
    return frozenset(run_id for elimination in eliminations for run_id in elimination.run_ids)


def renamed(eliminations: Iterable[Elimination], names: Mapping[str, str]) -> tuple[Elimination, ...]:
    """The same by the names of candidates, one for each that has a run the look saw.

    Args:
        eliminations: Of a study.
        names: Run id -> candidate.
    """
    return tuple(
        replace(elimination, method=name, by=next(_names(elimination.by_run_ids, names), elimination.by))
        for elimination in eliminations
        for name in dict.fromkeys(_names(elimination.run_ids, names))
    )


def _names(run_ids: Iterable[str], names: Mapping[str, str]) -> Iterator[str]:
    return (names[run_id] for run_id in run_ids if run_id in names)
