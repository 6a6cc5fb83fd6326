"""Estimates with 95 % intervals, from scores per example."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Estimate", "mean_estimate", "paired_gain"]

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; ``low`` and ``high`` are None where the data give none."""

    value: float
    low: float | None
    high: float | None

    @property
    def interval(self) -> list[float] | None:
        """Both ends, or None."""
        return None if self.low is None or self.high is None else [self.low, self.high]


def mean_estimate(scores: NDArray[np.float64]) -> Estimate:
    """Mean of the scores of independent examples, shape (examples,).

    Right-or-wrong scores get Wilson's interval, which stays sound near 0 and 1; others Student's t. The
    interval says what other test examples would have given, not what another training would have.

    >>> mean_estimate(np.array([1.0, 0.0, 1.0, 1.0])).value
    0.75
    """
    value, count = float(scores.mean()), len(scores)
    if np.isin(scores, (0.0, 1.0)).all():
        interval = stats.binomtest(int(scores.sum()), count).proportion_ci(LEVEL, method="wilson")
        return Estimate(value, float(interval.low), float(interval.high))
    return _student(scores)


def paired_gain(scores: NDArray[np.float64], reference: NDArray[np.float64]) -> Estimate:
    """Mean difference to a reference on the same examples, both of shape (examples,), in the same order.

    Pairing takes out what makes an example hard for both. Right-or-wrong scores get the interval of Agresti and
    Min (Statistics in Medicine 24, 2005): half an example is added to each of the four outcomes of a pair, so
    that the interval does not shrink to nothing where all pairs agree. Others get Student's t.

    >>> paired_gain(np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0])).value
    0.3333333333333333
    """
    assert scores.shape == reference.shape, f"{scores.shape} against {reference.shape}"
    difference = scores - reference
    if np.isin(difference, (-1.0, 0.0, 1.0)).all():
        return _agresti_min(difference)
    return _student(difference)


def _agresti_min(difference: NDArray[np.float64]) -> Estimate:
    count = len(difference) + 2.0
    won, lost = ((difference == sign).sum() + 0.5 for sign in (1.0, -1.0))
    centre = (won - lost) / count
    half = stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(((won + lost) / count - centre**2) / count)
    return Estimate(float(difference.mean()), float(max(centre - half, -1.0)), float(min(centre + half, 1.0)))


def _student(values: NDArray[np.float64]) -> Estimate:
    value, spread = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if spread == 0.0:
        return Estimate(value, None, None)
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * spread / np.sqrt(len(values)))
    return Estimate(value, value - half, value + half)
