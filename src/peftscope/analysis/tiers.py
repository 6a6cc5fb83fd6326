"""Tiers: the methods not detectably worse than the best, then the same on the rest.

The top tier is a model confidence set (Hansen, Lunde and Nason, Econometrica 79, 2011): are all left equal? If not,
the loser of the clearest contrast leaves, and the question is asked again. Comparing each with the one that happened
to score highest would be wrong: that one is partly the luckiest, and the correction for having picked it is what the
procedure supplies. The set holds the best with the probability of the level.

Two families of contrasts are asked at once, both in their paper: every pair (their range statistic), and each
method against the mean of the others. The second finds one that stands out from many alike, whose mean is known
better than any of theirs alone; the first finds groups.

The largest of many dependent t-statistics is drawn from normal scores with the estimated correlation, each contrast
with its own t-distribution. Where contrasts share the estimate of the seed variance this is a little strict.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.crossed import Crossed, against_the_others, mean_differences, residual_weights
from peftscope.analysis.distributions import normal_quantile, t_tail

__all__ = ["tiers_of"]

Floats = NDArray[np.float64]
Drawn = NDArray[np.float32]

TINY = 1e-300


@dataclass(frozen=True, kw_only=True)
class _Means:
    """Means of all methods with what tests of their equality share."""

    crossed: Crossed
    sign: float
    pair_scores: Floats
    """Shape (T, T): how clearly the row is better than the column, as a normal score."""
    drawn: Drawn
    """Shape (draws, T): errors of the means."""


def tiers_of(
    crossed: Crossed, *, sign: float, level: float, generator: np.random.Generator, draws: int = 10_000
) -> tuple[tuple[str, ...], ...]:
    """Names by tier, the top one first, in each the better mean first."""
    if len(crossed.names) == 1:
        return (crossed.names,)
    means = _Means(
        crossed=crossed,
        sign=sign,
        pair_scores=_pair_scores(crossed, sign),
        drawn=_draws(crossed.covariance, generator, draws),
    )
    left = list(map(int, np.argsort(-sign * crossed.means, kind="stable")))
    tiers = []
    while left:
        keep = _best_set(means, left, 1.0 - level)
        tiers.append(tuple(crossed.names[i] for i in left if i in keep))
        left = [i for i in left if i not in keep]
    return tuple(tiers)


def _best_set(means: _Means, left: list[int], alpha: float) -> set[int]:
    """The model confidence set of those left."""
    remaining, leavers, statistics = list(left), [], []
    while len(remaining) > 1:
        statistic, leaver = _clearest(means, remaining)
        statistics.append(statistic)
        leavers.append(leaver)
        remaining.remove(leaver)
    pairs = np.zeros(len(means.drawn), np.float32)
    inside = [remaining[0]]
    # sets grow by the method that left them, so that each pair is drawn once
    p_values = np.empty(len(leavers))
    for step in range(len(leavers) - 1, -1, -1):
        pairs = np.maximum(pairs, _drawn_pairs(means, inside, leavers[step]))
        inside.append(leavers[step])
        p_values[step] = (np.maximum(pairs, _drawn_against(means, inside)) >= statistics[step]).mean()
    stops = np.flatnonzero(p_values > alpha)
    gone = leavers[: stops[0]] if len(stops) else leavers
    return set(left) - set(gone)


def _clearest(means: _Means, among: list[int]) -> tuple[float, int]:
    """The largest statistic of a set, and who leaves by it."""
    pairs = means.pair_scores[np.ix_(among, among)]
    largest, leaver = float(pairs.max()), among[int(np.unravel_index(pairs.argmax(), pairs.shape)[1])]
    if len(among) < 3:
        return largest, leaver
    against = means.sign * _normal_scores(*against_the_others(means.crossed, among))
    place = int(np.abs(against).argmax())
    if abs(against[place]) <= largest:
        return largest, leaver
    # one that is above the rest does not say which of them is lowest: their means do
    below = place if against[place] < 0.0 else int(np.argmin(means.sign * means.crossed.means[among]))
    return float(abs(against[place])), among[below]


def _pair_scores(crossed: Crossed, sign: float) -> Floats:
    above, below = np.triu_indices(len(crossed.names), k=1)
    of = mean_differences(crossed, above.astype(np.int64), below.astype(np.int64))
    scores = np.zeros((len(crossed.names), len(crossed.names)))
    scores[above, below] = sign * _normal_scores(of.centres, of.errors, of.degrees)
    return scores - scores.T


def _normal_scores(values: Floats, errors: Floats, degrees: Floats) -> Floats:
    """Of t-statistics, with their sign; 0 where there is no error to go by."""
    steps = np.divide(values, errors, out=np.zeros_like(values), where=errors > 0.0)
    size = -normal_quantile(np.maximum(t_tail(np.abs(steps), degrees), TINY))
    return np.asarray(np.sign(steps) * size, np.float64)


def _draws(covariance: Floats, generator: np.random.Generator, draws: int) -> Drawn:
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(generator.standard_normal((draws, len(values))) @ root.T, np.float32)


def _drawn_pairs(means: _Means, inside: list[int], new: int) -> Drawn:
    """The largest statistic of the new one's pairs, per draw; shape (draws,)."""
    covariance = means.crossed.covariance
    variance = covariance[new, new] + np.diag(covariance)[inside] - 2.0 * covariance[new, inside]
    apart = means.drawn[:, inside] - means.drawn[:, [new]]
    return _largest(apart, variance)


def _drawn_against(means: _Means, among: list[int]) -> Drawn:
    """The largest statistic of one against the mean of the rest, per draw; shape (draws,)."""
    if len(among) < 3:
        return np.zeros(len(means.drawn), np.float32)
    weights = residual_weights(len(among))
    variance = np.einsum("ci,ij,cj->c", weights, means.crossed.covariance[np.ix_(among, among)], weights)
    return _largest(means.drawn[:, among] @ weights.T.astype(np.float32), variance)


def _largest(drawn: Drawn, variance: Floats) -> Drawn:
    errors = np.sqrt(np.where(variance > 1e-24, variance, np.inf)).astype(np.float32)
    return np.asarray((np.abs(drawn) / errors).max(axis=1), np.float32)
