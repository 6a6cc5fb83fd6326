"""What the power formulas name is enough, and not far too much."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from peftscope.analysis.power import Design, seeds_for_difference, seeds_for_equivalence


def _power(gap: float, seeds: int, per_seed: float, *, margin: float | None = None, draws: int = 4_000) -> float:
    """Of one pair alone, with the variance estimated from both methods' seeds."""
    source, degrees = np.random.default_rng(0), 2 * (seeds - 1)
    found = gap + np.sqrt(per_seed / seeds) * source.standard_normal(draws)
    error = np.sqrt(per_seed / seeds * source.chisquare(degrees, draws) / degrees)
    if margin is None:
        return float((found / error > stats.t.isf(0.025, degrees)).mean())
    return float(((margin - np.abs(found)) / error > stats.t.isf(0.05, degrees)).mean())


@pytest.mark.parametrize("gap", [0.03, 0.05, 0.1])
def test_predicted_seeds_detect_the_difference_with_80_percent_power(gap: float) -> None:
    seeds = seeds_for_difference(gap, Design(per_seed=2 * 0.03**2))
    assert seeds is not None
    assert 0.78 <= _power(gap, seeds, 2 * 0.03**2) <= 0.97


@pytest.mark.parametrize("seed_sd", [0.01, 0.02, 0.03])
def test_predicted_seeds_declare_equivalence_with_90_percent_power(seed_sd: float) -> None:
    seeds = seeds_for_equivalence(0.02, Design(per_seed=2 * seed_sd**2))
    assert seeds is not None
    assert 0.88 <= _power(0.0, seeds, 2 * seed_sd**2, margin=0.02) <= 0.985


def test_no_seed_number_is_given_if_no_affordable_one_suffices() -> None:
    assert seeds_for_difference(0.001, Design(per_seed=0.01)) is None
    assert seeds_for_equivalence(0.02, Design(per_seed=1e-6, fixed=0.01**2)) is None


def test_more_pairs_and_higher_variance_need_more_seeds() -> None:
    few = seeds_for_equivalence(0.02, Design(per_seed=2e-4))
    assert few < seeds_for_equivalence(0.02, Design(per_seed=2e-4, num_pairs=28))
    assert few < seeds_for_equivalence(0.02, Design(per_seed=4e-4))
