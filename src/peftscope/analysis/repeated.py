"""Experiments that ran twice: how far two single runs of one lie apart, and what a gap between two runs is worth.

Differences are taken about their mean, so that a shift common to all, as newer libraries make it, is none of a run's
luck. What the libraries changed in single experiments stays in it: an upper bound of luck alone, at one seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from scipy import special

__all__ = ["Repeated", "gap_of", "num_closer", "num_neighbours_turned", "num_turned", "repeated"]

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """What pairs of runs say of a single one, in the metric's unit."""

    num_pairs: int
    deviation: float
    """Standard deviation of one run: that of the differences over the root of two."""
    deviation_interval: tuple[float, float]
    """At 95 %, by the chi-square distribution: for differences that follow a bell curve."""
    shift: float
    """Mean of second minus first."""
    shift_interval: tuple[float, float]
    """At 95 %."""
    largest: int
    """Place of the pair that differs most."""

    @property
    def gap(self) -> float:
        """What two single runs of the same thing differ by, or more, in 5 % of cases."""
        return gap_of(self.deviation)


def gap_of(deviation: float) -> float:
    """What two runs with a standard deviation each differ by, or more, in 5 % of cases.

    >>> round(gap_of(1.0), 2)
    2.77
    """
    return float(special.ndtri((1 + LEVEL) / 2)) * math.sqrt(2) * deviation


def repeated(first: Sequence[float], second: Sequence[float]) -> Repeated:
    """What two runs of each of some experiments say.

    Args:
        first: A figure of each experiment's first run.
        second: The same of its second run, in the same order.

    Raises:
        ValueError: There are fewer than three pairs, or not as many of the one as of the other.

    >>> found = repeated([0.50, 0.40, 0.30, 0.20], [0.49, 0.40, 0.28, 0.19])
    >>> round(found.deviation, 4), round(found.shift, 4), found.largest
    (0.0058, -0.01, 2)
    """
    if len(first) != len(second) or len(first) < 3:
        raise ValueError("three pairs or more, please")
    change = np.asarray(second, float) - np.asarray(first, float)
    count = len(change)
    spread = float(change.std(ddof=1))
    low, high = (float(special.chdtri(count - 1, above)) for above in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    deviation, shift = spread / math.sqrt(2), float(change.mean())
    half = float(special.stdtrit(count - 1, (1 + LEVEL) / 2)) * spread / math.sqrt(count)
    return Repeated(
        num_pairs=count,
        deviation=deviation,
        deviation_interval=(deviation * math.sqrt((count - 1) / low), deviation * math.sqrt((count - 1) / high)),
        shift=shift,
        shift_interval=(shift - half, shift + half),
        largest=int(np.argmax(np.abs(change))),
    )


def num_closer(values: Sequence[float], gap: float) -> int:
    """Pairs of values that lie closer than a gap.

    >>> num_closer([1.0, 2.0, 4.0], 2.5)
    2
    """
    return sum(abs(a - b) < gap for a, b in combinations(values, 2))


def num_turned(first: Sequence[float], second: Sequence[float], gap: float = math.inf) -> int:
    """Pairs of experiments, in the first runs closer than a gap, that are in the other order in the second.

    >>> num_turned([1.0, 2.0, 4.0], [2.0, 1.0, 0.0]), num_turned([1.0, 2.0, 4.0], [2.0, 1.0, 0.0], 1.5)
    (3, 1)
    """
    pairs = combinations(zip(first, second), 2)
    return sum(abs(a - b) < gap and (a - b) * (c - d) < 0 for (a, c), (b, d) in pairs)


def num_neighbours_turned(first: Sequence[float], second: Sequence[float]) -> int:
    """Neighbours in the order of the first runs that are in the other order in the second; of equals there is none.

    >>> num_neighbours_turned([1.0, 2.0, 4.0], [2.0, 1.0, 3.0])
    1
    """
    ranked = sorted(zip(first, second))
    return sum(a < b and c > d for (a, c), (b, d) in pairwise(ranked))
