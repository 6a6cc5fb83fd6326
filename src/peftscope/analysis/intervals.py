"""Intervals of methods' mean scores: Wilson's where scores lie between 0 and 1, skewness allowed for elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.crossed import Crossed
from peftscope.analysis.distributions import t_quantile
from peftscope.analysis.estimates import Estimate

__all__ = ["mean_intervals"]

Floats = NDArray[np.float64]

TAIL = 1.25
"""By how much a sample's skewness falls short where tails are long: lognormal losses are covered with it."""

TAIL_KNOWN = 30
"""Examples, or groups of them, from which on their skewness is believed."""


def mean_intervals(crossed: Crossed, level: float) -> list[Estimate]:
    """The mean score of each method with its interval over seeds and examples."""
    if crossed.num_examples < 2:
        return [Estimate(float(value), None, None) for value in crossed.means]
    of_examples = crossed.example_means.var(axis=1, ddof=1) / crossed.num_examples
    # no seed of it has another score than 0 or 1: a pooled seed variance would not be its own
    flat = crossed.bounded & ((crossed.means == 0.0) | (crossed.means == 1.0))
    share = np.where(crossed.fixed | flat, 0.0, 1.0 / crossed.num_seeds)
    of_seeds = share * crossed.scale * crossed.weight
    variance = of_examples + of_seeds
    degrees = _satterthwaite(crossed, variance, of_examples, (share * crossed.weight * crossed.noise) ** 2)
    quantiles = -t_quantile((1.0 - level) / 2.0, degrees)
    if not crossed.bounded:
        return _skewed(crossed, np.sqrt(variance), of_examples, np.asarray(quantiles, np.float64))
    return [
        _wilson(float(mean), own, seeds, float(quantile), crossed)
        for mean, own, seeds, quantile in zip(
            crossed.means, of_examples, share * crossed.scale, np.asarray(quantiles, np.float64)
        )
    ]


def _satterthwaite(crossed: Crossed, variance: Floats, of_examples: Floats, of_seeds_squared: Floats) -> Floats:
    of_variance = of_seeds_squared / np.where(crossed.degrees > 0, crossed.degrees, np.inf)
    if not crossed.bounded or crossed.grouped:  # Wilson's variance follows from the mean, others are estimated
        of_variance = of_variance + of_examples**2 / (crossed.num_examples - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(np.where(of_variance > 0.0, variance**2 / of_variance, np.inf), 1.0)


def _skewed(crossed: Crossed, errors: Floats, of_examples: Floats, quantiles: Floats) -> list[Estimate]:
    """Intervals of means whose examples have a long tail: wider on its side.

    Hall's monotone cubic transformation (Journal of the Royal Statistical Society B 54, 1992), with the skewness that
    the examples bring to the mean; without any the interval is Student's.
    """
    found = []
    for mean, error, own, quantile, row in zip(
        crossed.means, errors, of_examples, quantiles, crossed.example_means - crossed.means[:, None]
    ):
        if error <= 0.0:
            found.append(Estimate(float(mean), None, None))
            continue
        third = TAIL * float(np.mean(row**3)) / len(row) ** 2  # third central moment of the mean
        skew = third / float(error) ** 3 if own > 0.0 and len(row) >= TAIL_KNOWN else 0.0
        if abs(skew) < 1e-6:
            steps = np.array([-quantile, quantile])
        else:
            steps = 3.0 / skew * (np.cbrt(1.0 + skew * (np.array([-quantile, quantile]) - skew / 6.0)) - 1.0)
        low, high = mean - steps[::-1] * error
        found.append(Estimate(float(mean), float(low), float(high)))
    return found


def _wilson(mean: float, of_examples: float, of_seeds: float, quantile: float, crossed: Crossed) -> Estimate:
    """``of_seeds`` is over p (1 - p) already."""
    spread, examples = mean * (1.0 - mean), crossed.num_examples
    if crossed.grouped:  # groups of several sizes may scatter more than answers can
        per_answer = of_examples / spread if spread > 0.0 else 1.0 / examples
    else:
        per_answer = min(of_examples * (examples - 1) / spread, 1.0) / examples if spread > 0.0 else 1.0 / examples
    inverse = quantile**2 * (per_answer + of_seeds)
    centre = (mean + inverse / 2.0) / (1.0 + inverse)
    half = np.sqrt(inverse * spread + inverse**2 / 4.0) / (1.0 + inverse)
    return Estimate(mean, float(max(centre - half, 0.0)), float(min(centre + half, 1.0)))
