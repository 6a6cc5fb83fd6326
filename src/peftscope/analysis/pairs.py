"""Verdicts on pairs of techniques: better, equivalent or undecided, over all pairs at once.

Differences are tested two-sided and corrected by Holm's step-down, sharpened by Shaffer for all pairs (Journal of
the American Statistical Association 81, 1986): once some pairs differ, fewer of the others can still all be equal,
since equality of A and B and of B and C is that of A and C. Equivalence is two one-sided tests (Schuirmann, Journal
of Pharmacokinetics and Biopharmaceutics 15, 1987) under plain Holm. The base's pairs are in the same family: where
it is clearly beaten they come first and cost nothing, and the promise covers them where it is not.

A pair that is surely inside the margin is equivalent, even if its difference is surely not zero: the margin says
what matters to the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from peftscope.analysis.crossed import Crossed, Differences, differences
from peftscope.analysis.estimates import Estimate
from peftscope.analysis.power import more_seeds
from peftscope.analysis.verdict import Pair, PairVerdict

__all__ = [
    "Tested",
    "compared",
    "difference_estimates",
    "gains_of",
    "holm",
    "pairs_of",
    "shaffer",
    "superiority",
    "verdicts_of",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Tested:
    """Every pair with its tests; each of shape (P,)."""

    of: Differences
    p_values: Floats
    p_holm: Floats
    p_equivalent: Floats
    """NaN without a margin."""


def holm(p_values: Floats) -> Floats:
    """Adjusted p-values of independent or dependent tests, shape (P,) (Scandinavian Journal of Statistics 6, 1979)."""
    return _step_down(p_values, np.arange(len(p_values), 0, -1, dtype=np.float64))


def shaffer(p_values: Floats, techniques: int) -> Floats:
    """Adjusted p-values of all pairs of some techniques, shape (P,): Holm's, sharpened by Shaffer's count.

    >>> [float(p) for p in shaffer(np.array([0.01, 0.02, 0.04]), 3)]
    [0.03, 0.03, 0.04]
    """
    assert len(p_values) == techniques * (techniques - 1) // 2
    possible = np.array(sorted(_true_counts(techniques)))
    left = np.arange(len(p_values), 0, -1)
    return _step_down(p_values, possible[np.searchsorted(possible, left, side="right") - 1].astype(np.float64))


def compared(crossed: Crossed, *, sign: float, margin: float | None) -> Tested:
    """Test every pair, the first being the one of the better mean."""
    order = np.argsort(-sign * crossed.means, kind="stable")
    above, below = np.triu_indices(len(order), k=1)
    of = differences(crossed, order[above], order[below])
    known = of.errors > 0.0
    safe = np.where(known, of.errors, 1.0)
    p_values = np.where(known, 2.0 * stats.t.sf(np.abs(of.centres) / safe, of.degrees), 1.0)
    p_equivalent = np.full(len(above), np.nan)
    if margin is not None:
        outside = np.where(known, stats.t.sf((margin - np.abs(of.centres)) / safe, of.degrees), 1.0)
        p_equivalent = holm(outside)
    return Tested(of=of, p_values=p_values, p_holm=shaffer(p_values, len(order)), p_equivalent=p_equivalent)


def verdicts_of(tested: Tested, level: float, sign: float) -> list[PairVerdict]:
    """Of the first against the second, for each pair."""
    alpha = 1.0 - level
    inside, apart = tested.p_equivalent <= alpha, tested.p_holm <= alpha
    ahead = sign * tested.of.centres > 0.0
    return [
        "equivalent" if same else ("better" if up else "worse") if differs else "undecided"
        for same, differs, up in zip(inside, apart, ahead)
    ]


def pairs_of(crossed: Crossed, *, sign: float, margin: float | None, level: float) -> tuple[Pair, ...]:
    """The verdict on every two techniques; intervals are of each pair alone, p-values over all."""
    if len(crossed.names) < 2:
        return ()
    tested = compared(crossed, sign=sign, margin=margin)
    of, verdicts = tested.of, verdicts_of(tested, level, sign)
    estimates = difference_estimates(of, sign=sign, level=level, bounded=crossed.bounded)
    chance = superiority(crossed, of, sign)
    open_pairs = np.array([verdict == "undecided" for verdict in verdicts])
    more = more_seeds(crossed, of, margin=margin, level=level, among=open_pairs)
    result = []
    for index, verdict in enumerate(verdicts):
        known = of.errors[index] > 0.0
        result.append(
            Pair(
                first=crossed.names[of.first[index]],
                second=crossed.names[of.second[index]],
                difference=estimates[index],
                p_value=float(tested.p_values[index]) if known else None,
                p_holm=float(tested.p_holm[index]) if known else None,
                p_equivalent=float(tested.p_equivalent[index]) if known and margin is not None else None,
                verdict=verdict,
                superiority=None if np.isnan(chance[index]) else float(chance[index]),
                more_seeds=more[index],
            )
        )
    return tuple(result)


def difference_estimates(of: Differences, *, sign: float, level: float, bounded: bool) -> list[Estimate]:
    """Each difference with its interval, turned so that positive means the first is better."""
    half = stats.t.isf((1.0 - level) / 2.0, of.degrees) * of.errors
    bound = 1.0 if bounded else np.inf
    low, high = np.maximum(sign * of.centres - half, -bound), np.minimum(sign * of.centres + half, bound)
    return [
        Estimate(float(value), float(lower), float(upper)) if error > 0.0 else Estimate(float(value), None, None)
        for value, lower, upper, error in zip(sign * of.values, low, high, of.errors)
    ]


def gains_of(crossed: Crossed, base: str, *, sign: float, level: float) -> dict[str, Estimate]:
    """Gain of every other technique over the base: the same as its pair with it."""
    others = [name for name in crossed.names if name != base]
    first = np.array([crossed.names.index(name) for name in others], dtype=np.int64)
    of = differences(crossed, first, np.full(len(others), crossed.names.index(base)))
    return dict(zip(others, difference_estimates(of, sign=sign, level=level, bounded=crossed.bounded)))


def superiority(crossed: Crossed, of: Differences, sign: float) -> Floats:
    """Probability that a new training of the first scores better than one of the second, shape (P,).

    On the same examples, so that these add no uncertainty: the spread is that of two new trainings and that of the
    two means. NaN where the seed variance of a trained one is not known.
    """
    rest = np.nan_to_num(np.where(crossed.fixed, 0.0, crossed.rest), nan=_typical_rest(crossed))
    one_training = crossed.seed_variance + rest / crossed.num_examples
    spread = np.where(crossed.fixed, 0.0, one_training * (1.0 + 1.0 / crossed.num_seeds))
    variance = spread[of.first] + spread[of.second]
    known = ((crossed.degrees > 0) | crossed.fixed)[of.first] & ((crossed.degrees > 0) | crossed.fixed)[of.second]
    degrees = np.maximum(np.where(crossed.fixed, np.inf, np.maximum(crossed.degrees, 1)), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # without any variance a difference is certain, and none is none
        steps = np.where(of.values == 0.0, 0.0, sign * of.values / np.sqrt(variance))
    chance = stats.t.cdf(steps, np.minimum(degrees[of.first], degrees[of.second]))
    return np.where(known, chance, np.nan)


def _typical_rest(crossed: Crossed) -> float:
    known = np.isfinite(crossed.rest) & ~crossed.fixed
    return float(crossed.rest[known].mean()) if known.any() else 0.0


def _step_down(p_values: Floats, factors: Floats) -> Floats:
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return adjusted


@cache
def _true_counts(techniques: int) -> frozenset[int]:
    """How many pairs of some techniques can be equal at once: those within the groups they may fall into."""
    if techniques < 2:
        return frozenset({0})
    return frozenset(
        size * (size - 1) // 2 + rest for size in range(1, techniques + 1) for rest in _true_counts(techniques - size)
    )
