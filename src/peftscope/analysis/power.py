"""How many seeds it takes: to tell two techniques apart, to call identical ones equivalent.

Both formulas are those of a t-test at the strictest level of the correction (level over the number of pairs), so
that what they name is enough rather than too little. The examples stay as they are; where they alone leave too much
uncertainty, no number of seeds suffices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from peftscope.analysis.crossed import Crossed, Differences

__all__ = ["AFFORDABLE", "more_seeds", "seeds_for_difference", "seeds_for_equivalence"]

Floats = NDArray[np.float64]

AFFORDABLE = 100
"""Seeds per technique beyond which no number is named."""

POWER = 0.8
"""Of deciding a pair with ``more_seeds``."""


def seeds_for_difference(
    gap: float,
    *,
    per_seed: float,
    fixed: float = 0.0,
    num_pairs: int = 1,
    degrees_per_seed: float = 2.0,
    level: float = 0.95,
    power: float = POWER,
    at_most: int = AFFORDABLE,
) -> int | None:
    """Seeds of each technique at which a difference of ``gap`` is found with that power; None beyond ``at_most``.

    Args:
        gap: Difference in the metric's unit.
        per_seed: Variance of the difference that falls with the number of seeds, at one seed of each.
        fixed: Variance that does not: techniques that find different examples hard.
        num_pairs: Pairs the correction is over.
        degrees_per_seed: Degrees of freedom that each further seed gives: the number of techniques trained.
        level: 1 less the chance of a false verdict.
        power: Chance of finding it.
        at_most: Seeds that are looked at.

    >>> seeds_for_difference(0.05, per_seed=2 * (0.01**2 + 0.15 / 1000), num_pairs=28, degrees_per_seed=8)
    4
    """
    return _first(abs(gap), per_seed, fixed, (1.0 - level) / 2 / num_pairs, power, degrees_per_seed, at_most)


def seeds_for_equivalence(
    margin: float,
    *,
    per_seed: float,
    fixed: float = 0.0,
    num_pairs: int = 1,
    degrees_per_seed: float = 2.0,
    level: float = 0.95,
    power: float = 0.9,
    at_most: int = AFFORDABLE,
) -> int | None:
    """Seeds of each technique at which identical ones are called equivalent with that power; None beyond ``at_most``.

    Both one-sided tests must pass, so that half of what may go wrong falls to each side. Arguments as for
    ``seeds_for_difference``.

    >>> seeds_for_equivalence(0.02, per_seed=2 * (0.01**2 + 0.15 / 1000), num_pairs=28, degrees_per_seed=8)
    27
    """
    both = (1.0 + power) / 2.0
    return _first(margin, per_seed, fixed, (1.0 - level) / num_pairs, both, degrees_per_seed, at_most)


def more_seeds(
    crossed: Crossed, of: Differences, *, margin: float | None, level: float, among: NDArray[np.bool_]
) -> list[int | None]:
    """About how many more seeds of each would decide a pair, if the difference is as it looks; one per pair.

    Decided as different or, inside the margin, as equivalent, whichever takes fewer. None where the pair is not
    ``among`` those asked for, where no affordable number would, or where one seed each says nothing of seeds.
    """
    answers: list[int | None] = [None] * len(of.values)
    asked = np.flatnonzero(among)
    if not len(asked) or not crossed.degrees.any():
        return answers
    first, second = of.first[asked], of.second[asked]
    rest = np.where(crossed.fixed, 0.0, np.nan_to_num(crossed.rest) / crossed.num_examples)
    one_training = crossed.seed_variance + rest
    per_seed = one_training[first] + one_training[second]
    now = (np.where(crossed.fixed, 0.0, one_training / crossed.num_seeds)[[first, second]]).sum(axis=0)
    fixed = np.maximum(of.errors[asked] ** 2 - now, 0.0)
    trained = np.maximum(crossed.num_seeds * ~crossed.fixed, 0)
    have = np.maximum(trained[first], trained[second])
    num_pairs = max(len(asked), 1)
    counts = np.arange(2, AFFORDABLE + 1)
    degrees = np.maximum((~crossed.fixed).sum() * (counts - 1), 1)
    errors = np.sqrt(per_seed[:, None] / counts + fixed[:, None])
    gaps = np.abs(of.values[asked])[:, None]
    passed = stats.t.isf((1.0 - level) / 2 / num_pairs, degrees) + stats.t.ppf(POWER, degrees) <= gaps / errors
    if margin is not None:
        room = np.maximum(margin - gaps, 0.0) / errors
        sure = stats.t.ppf(np.where(gaps > 0.0, POWER, (1 + POWER) / 2), degrees)
        passed |= stats.t.isf((1.0 - level) / num_pairs, degrees) + sure <= room
    passed &= counts > have[:, None]
    for row, index in enumerate(asked):
        if passed[row].any():
            answers[int(index)] = int(counts[passed[row].argmax()] - have[row])
    return answers


def _first(
    room: float, per_seed: float, fixed: float, tail: float, power: float, degrees_per_seed: float, at_most: int
) -> int | None:
    counts = np.arange(2, at_most + 1)
    degrees = np.maximum(degrees_per_seed * (counts - 1), 1.0)
    enough = room / np.sqrt(per_seed / counts + fixed) >= stats.t.isf(tail, degrees) + stats.t.ppf(power, degrees)
    return int(counts[enough.argmax()]) if enough.any() else None
