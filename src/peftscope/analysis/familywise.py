"""P-values corrected over many tests at once.

All pairs of some methods are tested by the studentized range, stepped down over every way in which methods can
still be equal (a closed test: Marcus, Peritz and Gabriel, Biometrika 63, 1976). Once some pairs differ, fewer of the
others can all be equal, since equality of A and B and of B and C is that of A and C (Shaffer, Journal of the American
Statistical Association 81, 1986). Each way divides the methods into groups of equals; that any pair within the
groups looks as clear as the one asked about has at most the probability

- of the groups' studentized ranges, added up: the range counts how pairs of one group are correlated;
- of the number of pairs within the groups, times that of one pair;
- of the range of all methods, of whose pairs those within groups are some;

and the least of the three is taken, then the most over the ways. Other families of tests take Holm's step-down.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["all_pairs", "holm", "range_tail"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FAR_FROM_CLEAR = 0.2
"""P-value of a pair alone beyond which the number of pairs bounds the range's tail closely enough."""

LISTED = 12
"""Methods up to which every way of falling into groups is gone through; beyond, the range of all and the counts."""


def holm(p_values: Floats) -> Floats:
    """Adjusted p-values of independent or dependent tests, shape (P,) (Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(p_values, kind="stable")
    return _step_down(np.arange(len(p_values), 0, -1) * p_values[order], order)


def all_pairs(steps: Floats, degrees: Floats, methods: int) -> Floats:
    """Adjusted p-values of all pairs of some methods, shape (P,).

    Args:
        steps: t-statistics, shape (P,); their size counts.
        degrees: Of freedom, infinite where the error is known, shape (P,).
        methods: How many have these pairs: P is methods (methods - 1) / 2.

    >>> [round(float(p), 3) for p in all_pairs(np.array([4.0, 2.4, 1.0]), np.full(3, np.inf), 3)]
    [0.0, 0.016, 0.317]
    """
    assert len(steps) == methods * (methods - 1) // 2
    if methods < 2:
        return np.empty(0)
    p_values = range_tail(np.abs(steps), degrees, 2)
    order = np.argsort(p_values, kind="stable")
    left = np.arange(len(order), 0, -1)
    whole = range_tail(np.abs(steps), degrees, methods)[order]
    if methods > LISTED:
        possible = np.array(sorted(_true_counts(methods)))
        counts = possible[np.searchsorted(possible, left, side="right") - 1]
        return _step_down(np.minimum(counts * p_values[order], whole), order)
    tails = {2: p_values[order], methods: whole}
    for size in range(3, methods):
        tails[size] = range_tail(np.abs(steps), degrees, size)[order]
    worst = np.zeros(len(order))
    for sizes in _groupings(methods):
        count = sum(size * (size - 1) // 2 for size in sizes)
        of_ranges = np.sum([tails[size] for size in sizes], axis=0)
        of_this = np.minimum(np.minimum(of_ranges, count * tails[2]), whole)
        worst = np.where(count <= left, np.maximum(worst, of_this), worst)
    return _step_down(worst, order)


def range_tail(steps: Floats, degrees: Floats, methods: int) -> Floats:
    """Probability that any pair of equal methods has a t-statistic of that size, shape (P,).

    That is the studentized range's upper tail at the square root of two times the statistic; with two methods the
    two-sided p-value of the t-test. Integrated numerically: within 1e-4 of SciPy's where one pair's is
    below ``FAR_FROM_CLEAR``; beyond, the bound by the number of pairs.
    """
    single = 2.0 * special.stdtr(np.minimum(degrees, 1e12), -np.abs(steps))
    bound = np.minimum(methods * (methods - 1) // 2 * single, 1.0)
    near = single < FAR_FROM_CLEAR
    if methods == 2 or not near.any():
        return np.asarray(bound, np.float64)
    steps, degrees = steps[near], degrees[near]
    places, shares = np.polynomial.legendre.leggauss(60)
    finite = np.isfinite(degrees)
    known = np.where(finite, degrees, 1.0)[:, None]
    # the error's own scatter, by its quantiles; squeezed towards small errors, where the tail comes from
    half = (places + 1.0) / 2.0
    below, of_below = half**3, shares / 2.0 * 3.0 * half**2
    scale = np.sqrt(special.gammaincinv(known / 2.0, below) / (known / 2.0))
    scale = np.where(finite[:, None], scale, 1.0)
    reach = np.sqrt(2.0) * np.abs(steps)[:, None] * scale
    normal, of_normal = 7.0 * places, 7.0 * shares * np.exp(-0.5 * (7.0 * places) ** 2) / np.sqrt(2.0 * np.pi)
    within = special.ndtr(normal) - special.ndtr(normal - reach[:, :, None])
    inside = methods * (within ** (methods - 1) @ of_normal)
    tail = (1.0 - inside) @ of_below
    found = np.array(bound, np.float64)
    found[near] = np.clip(tail, single[near], bound[near])
    return found


def _step_down(sorted_p_values: Floats, order: Ints) -> Floats:
    """In the order of the tests again, none smaller than that of a clearer one, shape (P,)."""
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(sorted_p_values), 1.0)
    return adjusted


@cache
def _groupings(methods: int, at_most: int | None = None) -> tuple[tuple[int, ...], ...]:
    """Sizes of the groups of equals, two or more each, into which methods can fall; all different is left out."""
    found = []
    for size in range(2, min(methods, at_most or methods) + 1):
        found += [(size, *others) for others in ((), *_groupings(methods - size, size))]
    return tuple(found)


@cache
def _true_counts(methods: int) -> frozenset[int]:
    """How many pairs of some methods can be equal at once: those within the groups they may fall into."""
    if methods < 2:
        return frozenset({0})
    return frozenset(
        size * (size - 1) // 2 + rest for size in range(1, methods + 1) for rest in _true_counts(methods - size)
    )
