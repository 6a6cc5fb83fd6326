"""How much of an adapter's gain is left at a strength between 0 and 1, and which strength keeps a given share of it.

Scores are crossed: every seed's adapter answers the same examples at every strength. What is asked of them is the
gain at a strength less a share of the full gain. Its variance has three parts: that of its means per example, over
examples; that of the seeds' own shares, which the seeds alone tell; and as far as the gain itself is left in it, that
of the seeds' gains, which leans on how far seeds of the study's other methods scatter (``moderated``).

A kept share is a ratio of two gains. Its interval is Fieller's (Journal of the Royal Statistical Society B 16, 1954):
every share r for which the gain at the strength less r times the full gain is not detectably different from 0. The
strength that keeps a share is told between the measured strengths of which the same test says that they keep too
little, and enough. Where the full gain is not detectably different from 0, no interval is bounded, and none is given.
Between two measured strengths scores are taken to lie on a straight line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.clusters import parts_of_groups
from peftscope.analysis.crossed import mean_squares
from peftscope.analysis.distributions import t_quantile
from peftscope.analysis.estimates import LEVEL, Estimate
from peftscope.analysis.moderated import moderated

__all__ = [
    "Strengths",
    "gain_at",
    "kept_share",
    "seed_interval",
    "strength_that_keeps",
    "strength_within",
    "weights_at",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FARTHEST = 64.0
"""A kept share beyond which no end of its interval is looked for."""


@dataclass(frozen=True, kw_only=True)
class Strengths:
    """Scores of one method at S strengths, by n seeds on E examples."""

    strengths: Floats
    """Shape (S,): ascending, the first 0 and the last 1."""
    scores: Floats
    """Shape (S, n, E): turned so that more is better; at strength 0 the base's, the same for all seeds."""
    groups: Ints | None = None
    """Number of each example's group, shape (E,); None where every example stands for itself."""
    others: tuple[Floats, ...] = ()
    """Mean scores of the seeds of each of the study's other methods: how far seeds scatter."""

    @property
    def means(self) -> Floats:
        """Shape (S,)."""
        return np.asarray(self.scores.mean(axis=(1, 2)), np.float64)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part of a variance, and how well it is known."""

    variance: float
    degrees: float
    noise: float
    """What its degrees of freedom are of: the variance before what is not its own was taken off."""


@dataclass(frozen=True, kw_only=True)
class _Test:
    """A mean with its standard error and degrees of freedom."""

    value: float
    error: float
    degrees: float

    def is_zero(self, level: float) -> bool:
        """Whether it is not detectably different from 0."""
        return abs(self.value) <= self.reach(level)

    def reach(self, level: float) -> float:
        """Half of its interval."""
        return float(-t_quantile((1.0 - level) / 2.0, self.degrees)) * self.error


def weights_at(strengths: Floats, strength: float) -> Floats:
    """Weights of the measured strengths that give the score at another one, shape (S,).

    >>> weights_at(np.array([0.0, 0.5, 1.0]), 0.6).round(3).tolist()
    [0.0, 0.8, 0.2]
    """
    above = int(np.clip(np.searchsorted(strengths, strength), 1, len(strengths) - 1))
    low, high = strengths[above - 1], strengths[above]
    found = np.zeros(len(strengths))
    found[above] = (strength - low) / (high - low)
    found[above - 1] = 1.0 - found[above]
    return found


def gain_at(of: Strengths, strength: float, level: float = LEVEL) -> Estimate:
    """The gain over the base at a strength, positive where it is better."""
    if strength == 0.0:
        return Estimate(0.0, 0.0, 0.0)
    found = _test(of, strength, 0.0)
    if not found.error or math.isinf(found.error):
        return Estimate(found.value, None, None)
    reach = found.reach(level)
    return Estimate(found.value, found.value - reach, found.value + reach)


def kept_share(of: Strengths, strength: float, level: float = LEVEL) -> Estimate | None:
    """The share of the full gain that a strength keeps; None where the full gain is not detectable."""
    if not _is_gain_detectable(of, level):
        return None
    if strength in (0.0, 1.0):
        return Estimate(strength, strength, strength)
    share = _share(of, strength)

    def fits(other: float) -> bool:
        return _test(of, strength, other).is_zero(level)

    return Estimate(share, _end(fits, share, -1.0), _end(fits, share, 1.0))


def strength_that_keeps(of: Strengths, keep: float, level: float = LEVEL) -> Estimate | None:
    """The least strength that keeps a share of the full gain; None where the full gain is not detectable.

    Args:
        of: Scores.
        keep: Above 0, at most 1.
        level: Of the interval. Its ends are measured strengths, so that no straight line is trusted: too little is
            kept at the lower one, and enough at the upper one, detectably.
    """
    if not _is_gain_detectable(of, level):
        return None
    short = of.means - of.means[0] - keep * (of.means[-1] - of.means[0])  # below 0 where too little is kept
    short[-1] = max(short[-1], 0.0)  # rounding
    above = int(np.argmax(short >= 0.0))
    low, high = of.strengths[above - 1], of.strengths[above]
    found = float(low + (high - low) * -short[above - 1] / (short[above] - short[above - 1]))
    above_all = [s for s in of.strengths if s >= found and _keeps(of, float(s), keep, level)]
    below_all = [s for s in of.strengths if s <= found and _falls_short(of, float(s), keep, level)]
    return Estimate(found, float(max(below_all, default=0.0)), float(min(above_all, default=1.0)))


def seed_interval(values: Sequence[float], others: Sequence[Floats] = (), level: float = LEVEL) -> Estimate:
    """The mean of one value per seed with its interval over seeds; no interval where nothing tells how seeds scatter.

    Args:
        values: Of the seeds.
        others: Values of the seeds of other methods. Where all are above 0, scatter in proportion leans on theirs.
        level: Of the interval.
    """
    own = np.asarray(values, np.float64)
    mean, count = float(own.mean()), len(own)
    known = [each for each in others if len(each) > 1 and each.min() > 0.0]
    if not known or own.min() <= 0.0:
        known, unit = [], 1.0
    else:
        unit = mean
    squares = np.array([own.var(ddof=1) / unit**2 if count > 1 else np.nan, *(_proportion(each) for each in known)])
    scatter = moderated(squares, np.array([count - 1.0, *(len(each) - 1.0 for each in known)]))
    if not scatter.degrees[0]:
        return Estimate(mean, None, None)
    error = unit * math.sqrt(float(scatter.variances[0]) / count)
    reach = float(-t_quantile((1.0 - level) / 2.0, float(scatter.degrees[0]))) * error
    return Estimate(mean, mean - reach, mean + reach)


def strength_within(strengths: Floats, costs: Floats, bound: float) -> float | None:
    """The largest strength up to which every seed keeps a bound; None where not even the base does.

    Args:
        strengths: Shape (S,), ascending.
        costs: Shape (S, n): a cost of every seed, on a straight line between two strengths.
        bound: The most of it.
    """
    least = 1.0
    for own in costs.T:
        over = np.flatnonzero(own > bound)
        if not len(over):
            continue
        first = int(over[0])
        if first == 0:
            return None
        low, high = strengths[first - 1], strengths[first]
        part = (bound - own[first - 1]) / (own[first] - own[first - 1])
        least = min(least, float(low + (high - low) * part))
    return least


def _proportion(values: Floats) -> float:
    return float(values.var(ddof=1) / values.mean() ** 2)


def _is_gain_detectable(of: Strengths, level: float) -> bool:
    gain = _test(of, 1.0, 0.0)
    return gain.value > 0.0 and not gain.is_zero(level)


def _keeps(of: Strengths, strength: float, keep: float, level: float) -> bool:
    test = _test(of, strength, keep)
    return test.value > 0.0 and not test.is_zero(level)


def _falls_short(of: Strengths, strength: float, keep: float, level: float) -> bool:
    test = _test(of, strength, keep)
    return test.value < 0.0 and not test.is_zero(level)


def _share(of: Strengths, strength: float) -> float:
    """The estimate of the kept share."""
    means = of.means - of.means[0]
    return float(weights_at(of.strengths, strength) @ means / means[-1])


def _test(of: Strengths, strength: float, share: float) -> _Test:
    """The gain at a strength less a share of the full gain."""
    at = np.tensordot(weights_at(of.strengths, strength), of.scores, axes=1) - of.scores[0]
    full = of.scores[-1] - of.scores[0]
    each = at - share * full
    value = float(each.mean())
    if of.groups is not None:
        at, full, each = (parts_of_groups(values, of.groups) for values in (at, full, each))
    examples = each.shape[1]
    if examples < 2:
        return _Test(value=value, error=math.inf, degrees=1.0)
    of_examples = float(each.mean(axis=0).var(ddof=1)) / examples
    own = float(at.mean() / full.mean()) if full.mean() else 0.0
    parts = [
        _Part(variance=of_examples, degrees=examples - 1.0, noise=of_examples),
        _of_seeds(at - own * full, ()),
        _of_seeds(full, of.others, times=own - share),
    ]
    variance = sum(part.variance for part in parts)
    of_variance = sum(part.noise**2 / part.degrees for part in parts if part.degrees > 0)
    degrees = max(variance**2 / of_variance, 1.0) if of_variance > 0.0 else math.inf
    return _Test(value=value, error=math.sqrt(variance), degrees=degrees)


def _of_seeds(each: Floats, others: Sequence[Floats], times: float = 1.0) -> _Part:
    """What another set of seeds would change of a mean, some times over.

    Args:
        each: Shape (n, E).
        others: Means of other methods' seeds, whose scatter it leans on.
        times: What the mean is multiplied by.
    """
    square, residual = mean_squares(each)
    known = [own for own in others if len(own) > 1]
    squares = np.array([square, *(own.var(ddof=1) for own in known)])
    scatter = moderated(squares, np.array([len(each) - 1.0, *(len(own) - 1.0 for own in known)]))
    noise = float(scatter.variances[0]) if scatter.degrees[0] > 0 else 0.0
    rest = residual / each.shape[1] if math.isfinite(residual) else 0.0
    factor = times**2 / len(each)
    return _Part(variance=factor * max(noise - rest, 0.0), degrees=float(scatter.degrees[0]), noise=factor * noise)


def _end(fits: Callable[[float], bool], start: float, side: float) -> float | None:
    """How far to one side shares fit, by doubling steps and halving the last; None where there is no end."""
    step = 0.05
    while fits(start + side * step):
        step *= 2.0
        if step > FARTHEST:
            return None
    inside, outside = (0.0 if step == 0.05 else step / 2.0), step
    for _ in range(30):
        middle = (inside + outside) / 2.0
        inside, outside = (middle, outside) if fits(start + side * middle) else (inside, middle)
    return start + side * outside
