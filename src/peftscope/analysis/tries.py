"""How many configurations of a method were tried, what each of them scored, and what is left of the best of them.

The best of many looks better than it is. Intervals hold for all configurations of a method together (Bonferroni), so
that they are wider where more were tried, and the best one's, chosen for its score, still covers what it is worth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy import special

__all__ = ["Scored", "Tries", "Try", "tries_by_method"]

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One published run."""

    method: str
    experiment: str
    """The configuration."""
    run: str
    """The same for two results that are of one run, such as a hash of the document."""
    value: float


@dataclass(frozen=True, kw_only=True)
class Try:
    """One configuration."""

    experiment: str
    value: float
    """Mean over its runs."""
    num_runs: int
    """Runs made anew; a result that was published twice counts once."""
    low: float | None
    high: float | None
    """Ends of the interval; None where nothing is known of the spread of a run."""


@dataclass(frozen=True, kw_only=True)
class Tries:
    """All configurations of a method, in the order they were given in."""

    tries: tuple[Try, ...]
    best: Try


def tries_by_method(
    results: Iterable[Sequence[Scored]],
    *,
    deviation: float | None,
    higher_is_better: bool,
) -> dict[str, Tries]:
    """Configurations of each method with their means and intervals.

    Args:
        results: Those of each release.
        deviation: Standard deviation of one run whose share is one half; None where no run was repeated, and for what
            is no share.
        higher_is_better: Which one is the best.

    >>> once = [Scored(method="a", experiment=e, run=e, value=v) for e, v in (("a/1", 0.5), ("a/2", 0.4))]
    >>> again = [Scored(method="a", experiment="a/1", run="other", value=0.48)]
    >>> found = tries_by_method([once, again], deviation=0.01, higher_is_better=True)["a"]
    >>> found.best.experiment, round(found.best.value, 2), round(found.best.low, 3), found.best.num_runs
    ('a/1', 0.49, 0.474, 2)
    """
    runs: dict[str, dict[str, dict[str, float]]] = {}
    for scored in (of for release in results for of in release):
        runs.setdefault(scored.method, {}).setdefault(scored.experiment, {})[scored.run] = scored.value
    found = {}
    for method, by_experiment in runs.items():
        tries = _with_intervals({e: list(values.values()) for e, values in by_experiment.items()}, deviation)
        best = (max if higher_is_better else min)(tries, key=lambda each: each.value)
        found[method] = Tries(tries=tries, best=best)
    return found


def _with_intervals(values: Mapping[str, Sequence[float]], deviation: float | None) -> tuple[Try, ...]:
    """Intervals that hold for all of them together at the level."""
    quantile = float(special.ndtri(1 - (1 - LEVEL) / (2 * len(values))))
    found = []
    for experiment, runs in values.items():
        mean = sum(runs) / len(runs)
        low, high = (None, None) if deviation is None else _around(mean, quantile * deviation / math.sqrt(len(runs)))
        found.append(Try(experiment=experiment, value=mean, num_runs=len(runs), low=low, high=high))
    return tuple(found)


def _around(share: float, half: float) -> tuple[float, float]:
    """Ends of an interval, on the scale of the arcsine of the root, where a share scatters alike wherever it lies.

    >>> [round(end, 3) for end in _around(0.5, 0.02)], [round(end, 4) for end in _around(0.001, 0.02)]
    ([0.48, 0.52], [0.0001, 0.0027])
    """
    angle = math.asin(math.sqrt(share))
    low, high = max(angle - half, 0.0), min(angle + half, math.pi / 2)
    return math.sin(low) ** 2, math.sin(high) ** 2
