"""The Pareto front over two or more metrics, and how sure each technique's place on it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from peftscope.spec.metric import MetricSpec

__all__ = ["Front"]


@dataclass(frozen=True, kw_only=True)
class Front:
    """Candidates none of which is beaten on every metric at once; the base is a candidate."""

    metrics: tuple[MetricSpec, ...]
    points: Mapping[str, tuple[float, ...]]
    """Value of each metric, for every candidate that has all of them."""
    members: tuple[str, ...]
    """On the front of the estimates as they stand, in the order of the last metric."""
    membership: Mapping[str, float | None]
    """Probability of being on the front; None where a candidate is a single run."""
    removable: Mapping[str, tuple[str, ...]]
    """Members that one standard error of the score could remove, with what would beat them then."""
    hypervolume: float | None
    """Of the members against ``reference``, each metric scaled to the range of the points; None for fewer than two
    points."""
    reference: tuple[float, ...]
    """The worst value of each metric among the points."""
    notes: tuple[str, ...] = ()
