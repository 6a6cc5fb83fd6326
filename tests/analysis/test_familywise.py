"""Corrections over many tests."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from peftscope.analysis.familywise import all_pairs, holm, range_tail


def test_holm_adjustment_matches_statsmodels() -> None:
    p_values = np.random.default_rng(0).random(30) ** 4
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@pytest.mark.parametrize("methods", [3, 8, 45])
@pytest.mark.parametrize("degrees", [2.0, 14.0, np.inf])
def test_the_studentized_range_tail_matches_scipy(methods: int, degrees: float) -> None:
    steps = np.array([2.0, 2.5, 3.0, 4.0, 6.0])
    known = stats.studentized_range.sf(steps * np.sqrt(2.0), methods, min(degrees, 1e6))
    assert range_tail(steps, np.full(5, degrees), methods) == pytest.approx(known, abs=1e-4)
    far = np.array([0.0, 0.5, 1.0])
    bound = stats.studentized_range.sf(far * np.sqrt(2.0), methods, min(degrees, 1e6))
    assert (range_tail(far, np.full(3, degrees), methods) >= bound - 1e-4).all()


@pytest.mark.parametrize("methods", [2, 3, 4, 5, 20])
def test_the_all_pairs_correction_is_at_most_as_strict_as_holm(methods: int) -> None:
    count = methods * (methods - 1) // 2
    steps = np.random.default_rng(methods).normal(0.0, 2.0, count)
    adjusted = all_pairs(steps, np.full(count, 14.0), methods)
    single = 2.0 * stats.t.sf(np.abs(steps), 14.0)
    assert (adjusted >= single - 1e-12).all()
    assert (adjusted <= holm(single) + 1e-12).all()


@cache
def _tail(step: float, methods: int) -> float:
    return float(stats.studentized_range.sf(step * np.sqrt(2.0), methods, 20.0))


@pytest.mark.parametrize("methods", [3, 4])
def test_a_difference_must_be_significant_under_every_partial_null_hypothesis(methods: int) -> None:
    """The largest p-value over all groupings that leave as many pairs equal as are not yet told apart."""
    pairs = list(itertools.combinations(range(methods), 2))
    steps = np.sort(np.random.default_rng(methods).uniform(1.5, 4.0, len(pairs)))[::-1]
    adjusted = all_pairs(steps, np.full(len(pairs), 20.0), methods)
    for place, step in enumerate(steps):
        for groups in itertools.product(range(methods), repeat=methods):
            equal = sum(groups[a] == groups[b] for a, b in pairs)
            if not 0 < equal <= len(pairs) - place:
                continue
            ranges = sum(_tail(step, size) for size in np.bincount(groups) if size > 1)
            least = min(ranges, equal * 2.0 * stats.t.sf(step, 20.0), _tail(step, methods))
            assert adjusted[place] >= min(least, 1.0) - 1e-4


@pytest.mark.slow
def test_the_familywise_error_rate_among_equal_methods_is_as_promised() -> None:
    source, wrong = np.random.default_rng(1), 0
    first, second = np.triu_indices(8, k=1)
    for _ in range(2_000):
        values = source.normal(0.0, 1.0, (8, 3))
        error = np.sqrt(2.0 * values.var(axis=1, ddof=1).mean() / 3.0)
        steps = (values.mean(axis=1)[first] - values.mean(axis=1)[second]) / error
        wrong += all_pairs(steps, np.full(28, 16.0), 8).min() <= 0.05
    assert 0.03 <= wrong / 2_000 <= 0.065
