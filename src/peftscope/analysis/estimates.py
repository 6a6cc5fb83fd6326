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
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def clear_of_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


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

    Pairing takes out what makes an example hard for both.

    >>> paired_gain(np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0])).value
    0.3333333333333333
    """
    assert scores.shape == reference.shape, f"{scores.shape} against {reference.shape}"
    return _student(scores - reference)


def _student(values: NDArray[np.float64]) -> Estimate:
    value = float(values.mean())
    if len(values) < 2:
        return Estimate(value, float("-inf"), float("inf"))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Estimate(value, value - half, value + half)
