"""How many seeds it takes: to distinguish two methods, to call identical ones equivalent.

The formulas for studies not yet run are those of a t-test at the strictest level of the correction (level over the
number of pairs), so that what they name is enough rather than too little. The examples stay as they are; where they
alone leave too much uncertainty, no number of seeds suffices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.criteria import Criteria
from peftscope.analysis.crossed import Crossed, Differences
from peftscope.analysis.distributions import normal_below, t_quantile
from peftscope.analysis.estimates import LEVEL
from peftscope.analysis.moderated import CAP
from peftscope.analysis.pooling import Pooled

__all__ = [
    "AFFORDABLE",
    "POWER",
    "Design",
    "More",
    "chances_to_decide",
    "more_seeds",
    "seeds_for_difference",
    "seeds_for_equivalence",
]

Floats = NDArray[np.float64]

AFFORDABLE = 100
"""Seeds per method beyond which no number is named."""

POWER = 0.8
"""Chance of finding a difference, and of deciding a pair with ``more_seeds``."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """What decides how well a difference between two methods is known."""

    per_seed: float
    """Variance of the difference that falls with the number of seeds, at one seed of each."""
    fixed: float = 0.0
    """Variance that does not: methods that find different examples hard."""
    num_pairs: int = 1
    """Pairs the correction is over."""
    degrees_per_seed: float = 2.0
    """Degrees of freedom that each further seed gives: the number of methods trained."""
    level: float = LEVEL
    """1 less the chance of a false verdict."""


def seeds_for_difference(gap: float, design: Design, *, power: float = POWER, at_most: int = AFFORDABLE) -> int | None:
    """Seeds of each method at which a difference of ``gap`` is found with that power; None beyond ``at_most``.

    Args:
        gap: Difference in the metric's unit.
        design: How well a difference is known.
        power: Chance of finding it.
        at_most: Seeds that are looked at.

    >>> eight = Design(per_seed=2 * (0.01**2 + 0.15 / 1000), num_pairs=28, degrees_per_seed=8)
    >>> seeds_for_difference(0.05, eight)
    4
    """
    tail = (1.0 - design.level) / 2 / design.num_pairs
    return _first(abs(gap), design, tail=tail, power=power, at_most=at_most)


def seeds_for_equivalence(
    margin: float, design: Design, *, power: float = 0.9, at_most: int = AFFORDABLE
) -> int | None:
    """Seeds of each method at which identical ones are called equivalent with that power; None beyond ``at_most``.

    Both one-sided tests must pass, so that half of what may go wrong falls to each side. Arguments as for
    ``seeds_for_difference``.

    >>> eight = Design(per_seed=2 * (0.01**2 + 0.15 / 1000), num_pairs=28, degrees_per_seed=8)
    >>> seeds_for_equivalence(0.02, eight)
    27
    """
    tail = (1.0 - design.level) / design.num_pairs
    return _first(margin, design, tail=tail, power=(1.0 + power) / 2.0, at_most=at_most)


@dataclass(frozen=True, kw_only=True)
class More:
    """What more seeds of two methods would most likely show."""

    seeds: int
    """Of each, beside those they have."""
    shows: Literal["apart", "equivalent"]


def more_seeds(
    crossed: Crossed,
    of: Differences,
    pooled: Pooled,
    criteria: Criteria,
    *,
    among: NDArray[np.bool_],
) -> list[More | None]:
    """About how many more seeds of each would decide a pair with probability ``POWER``; one per pair.

    Decided is apart or, inside the margin, equivalent. The probability is over what the difference may truly be, as
    the pooled draws have it, and over what the new trainings bring; those at hand stay as they are. None where the
    pair is not ``among`` those asked for, where no affordable number would, or where one seed each says nothing of
    seeds.
    """
    answers: list[More | None] = [None] * len(of.values)
    asked = np.flatnonzero(among)
    if not len(asked) or not crossed.degrees.any():
        return answers
    draws = pooled.draws[:: max(len(pooled.draws) // 500, 1)]
    for index in map(int, asked):
        have = _seeds_of(crossed, of, index)
        counts = np.arange(have + 1, AFFORDABLE + 1)
        true = draws[:, of.first[index]] - draws[:, of.second[index]]
        apart, same = chances_to_decide(crossed, of, index, true, counts, criteria.at_share(1.0 / len(asked)))
        passed = apart + same >= POWER
        if passed.any():
            place = int(passed.argmax())
            shows: Literal["apart", "equivalent"] = "apart" if apart[place] >= same[place] else "equivalent"
            answers[index] = More(seeds=int(counts[place] - have), shows=shows)
    return answers


def chances_to_decide(
    crossed: Crossed,
    of: Differences,
    index: int,
    true: Floats,
    counts: NDArray[np.int64],
    criteria: Criteria,
) -> tuple[Floats, Floats]:
    """Chances that a pair is distinguished, and is called equivalent, by numbers of seeds; each of their shape.

    Args:
        crossed: The methods.
        of: Differences of pairs.
        index: The pair.
        true: What its difference may truly be, draws.
        counts: Seeds of each, more than there are.
        criteria: Margin, and level of the verdict on this pair.
    """
    residual = np.where(crossed.fixed, 0.0, np.nan_to_num(crossed.residual) / crossed.num_examples)
    one_training = crossed.seed_variance + residual
    first, second, have = int(of.first[index]), int(of.second[index]), _seeds_of(crossed, of, index)
    per_seed = float(one_training[first] + one_training[second])
    fixed = max(float(of.errors[index]) ** 2 - per_seed / max(have, 1), 0.0)
    known = np.minimum(2.0 * (CAP + counts - 1.0), int((~crossed.fixed).sum()) * (counts - 1.0))
    error = np.sqrt(per_seed / counts + fixed)
    seen = float(of.values[index])
    # seeds at hand keep their weight; the new ones bring the true difference and their own luck
    expected = (have * seen + (counts - have) * true[:, None]) / counts
    luck = np.sqrt(np.maximum((counts - have) * per_seed, 1e-300)) / counts
    room = -t_quantile((1.0 - criteria.level) / 2.0, known) * error
    apart = (normal_below((expected - room) / luck) + normal_below((-room - expected) / luck)).mean(axis=0)
    same = np.zeros(len(counts))
    if criteria.margin is not None:
        inside = criteria.margin + t_quantile(1.0 - criteria.level, known) * error
        between = normal_below((inside - expected) / luck) - normal_below((-inside - expected) / luck)
        same = np.where(inside > 0.0, between.mean(axis=0), 0.0)
    return apart, same


def _seeds_of(crossed: Crossed, of: Differences, index: int) -> int:
    """Seeds of the one of the pair that has more."""
    trained = np.where(crossed.fixed, 0, crossed.num_seeds)
    return int(max(trained[of.first[index]], trained[of.second[index]]))


def _first(room: float, design: Design, *, tail: float, power: float, at_most: int) -> int | None:
    counts = np.arange(2, at_most + 1)
    degrees = np.maximum(design.degrees_per_seed * (counts - 1), 1.0)
    error = np.sqrt(design.per_seed / counts + design.fixed)
    enough = room / error >= t_quantile(power, degrees) - t_quantile(tail, degrees)
    return int(counts[enough.argmax()]) if enough.any() else None
