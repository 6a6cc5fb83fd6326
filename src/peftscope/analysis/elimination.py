"""A method that was eliminated on the way: by whom, and on what figures."""

from __future__ import annotations

from dataclasses import dataclass

from peftscope.schema.metric import MetricSpec

__all__ = ["Elimination", "Worse"]


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
    num_seeds: int
    """Seeds of each that were looked at."""
    worse: tuple[Worse, ...]
    """The score first, then what training takes."""
    p_value: float
    """The largest over the metrics, corrected over all pairs that could have ended so."""
