"""Tiers: the techniques not detectably worse than the best, then the same on the rest.

The top tier is a model confidence set (Hansen, Lunde and Nason, Econometrica 79, 2011) with their range statistic:
are all left equal? If not, the loser of the clearest pair leaves, and the question is asked again. Comparing each
with the one that happened to score highest would be wrong: that one is partly the luckiest, and the correction for
having picked it is what the procedure supplies. The set holds the best with the probability of the level.

The largest of many dependent t-statistics is drawn from normal scores with the estimated correlation, each pair
with its own t-distribution. Where pairs share the estimate of the seed variance this is a little strict.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from peftscope.analysis.crossed import Crossed, differences

__all__ = ["tiers_of"]

Floats = NDArray[np.float64]

TINY = 1e-300


def tiers_of(
    crossed: Crossed, *, sign: float, level: float, generator: np.random.Generator, draws: int = 10_000
) -> tuple[tuple[str, ...], ...]:
    """Names by tier, the top one first, in each the better mean first."""
    count = len(crossed.names)
    if count == 1:
        return (crossed.names,)
    scores = _scores(crossed, sign)
    correlated = _draws(crossed, generator, draws)
    errors = _errors(crossed.covariance)
    left = np.argsort(-sign * crossed.means, kind="stable")
    tiers = []
    while len(left):
        keep = _best_set(scores, correlated, errors, left, 1.0 - level)
        tiers.append(tuple(crossed.names[i] for i in left if i in keep))
        left = np.array([i for i in left if i not in keep], dtype=np.int64)
    return tuple(tiers)


def _scores(crossed: Crossed, sign: float) -> Floats:
    """How clearly the row is better than the column, as a normal score; shape (T, T)."""
    above, below = np.triu_indices(len(crossed.names), k=1)
    of = differences(crossed, above.astype(np.int64), below.astype(np.int64))
    known = of.errors > 0.0
    steps = np.where(known, of.centres / np.where(known, of.errors, 1.0), 0.0)
    size = stats.norm.isf(np.maximum(stats.t.sf(np.abs(steps), of.degrees), TINY))
    scores = np.zeros((len(crossed.names), len(crossed.names)))
    scores[above, below] = sign * np.sign(steps) * size
    return scores - scores.T


def _draws(crossed: Crossed, generator: np.random.Generator, draws: int) -> NDArray[np.float32]:
    """Errors of the means, shape (draws, T)."""
    values, vectors = np.linalg.eigh(crossed.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(generator.standard_normal((draws, len(values))) @ root.T, np.float32)


def _errors(covariance: Floats) -> Floats:
    """Standard errors of all differences, shape (T, T)."""
    own = np.diag(covariance)
    errors = np.sqrt(np.maximum(own[:, None] + own[None, :] - 2.0 * covariance, 0.0))
    return np.where(errors > 1e-12, errors, np.inf)


def _best_set(
    scores: Floats, correlated: NDArray[np.float32], errors: Floats, left: NDArray[np.int64], alpha: float
) -> set[int]:
    """The model confidence set of those left."""
    remaining, leavers, statistics = list(left), [], []
    while len(remaining) > 1:
        among = scores[np.ix_(remaining, remaining)]
        statistics.append(float(among.max()))
        leaver = remaining[int(np.unravel_index(among.argmax(), among.shape)[1])]
        leavers.append(leaver)
        remaining.remove(leaver)
    largest = np.zeros(len(correlated), np.float32)
    inside = [remaining[0]]
    # sets grow by the technique that left them, so that each pair is drawn once
    p_values = np.empty(len(leavers))
    for step in range(len(leavers) - 1, -1, -1):
        new = leavers[step]
        apart = np.abs(correlated[:, inside] - correlated[:, [new]]) / errors[new, inside].astype(np.float32)
        largest = np.maximum(largest, apart.max(axis=1))
        p_values[step] = (largest >= statistics[step]).mean()
        inside.append(new)
    stops = np.flatnonzero(p_values > alpha)
    gone = leavers[: stops[0]] if len(stops) else leavers
    return set(map(int, left)) - set(map(int, gone))
