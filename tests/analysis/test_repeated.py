"""What runs that were repeated say of a single one."""

from __future__ import annotations

import numpy as np
import pytest

from peftscope.analysis.repeated import num_closer, num_neighbours_turned, num_turned, repeated


def twice(
    rng: np.random.Generator, count: int = 60, *, sd: float = 0.01, shift: float = 0.0
) -> tuple[list[float], ...]:
    true = rng.uniform(0.2, 0.6, count)
    return tuple(list(true + step + sd * rng.standard_normal(count)) for step in (0.0, shift))


def test_the_spread_of_one_run_is_recovered_and_a_common_shift_is_none_of_it() -> None:
    rng = np.random.default_rng(0)
    found = [repeated(*twice(rng, shift=-0.03)) for _ in range(200)]
    assert np.mean([f.deviation for f in found]) == pytest.approx(0.01, rel=0.02)
    assert np.mean([f.shift for f in found]) == pytest.approx(-0.03, rel=0.02)
    held = [f.deviation_interval[0] < 0.01 < f.deviation_interval[1] for f in found]
    assert 0.9 <= np.mean(held) <= 0.99
    assert 0.9 <= np.mean([f.shift_interval[0] < -0.03 < f.shift_interval[1] for f in found]) <= 0.99


def test_two_runs_of_one_thing_exceed_the_gap_in_five_per_cent_of_cases() -> None:
    rng = np.random.default_rng(1)
    first, second = (np.array(runs) for runs in twice(rng, 20_000))
    assert np.mean(np.abs(first - second) > repeated(first, second).gap) == pytest.approx(0.05, abs=0.006)


def test_the_pair_that_differs_most_is_named() -> None:
    assert repeated([0.5, 0.4, 0.3], [0.5, 0.45, 0.1]).largest == 2


@pytest.mark.parametrize(("first", "second"), [([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0, 3.0], [1.0, 2.0])])
def test_too_few_or_unequal_runs_are_refused(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match="three pairs"):
        repeated(first, second)


def test_equal_runs_are_in_no_other_order() -> None:
    assert num_turned([1.0, 1.0, 2.0], [2.0, 1.0, 3.0]) == 0
    assert num_neighbours_turned([1.0, 1.0, 2.0], [2.0, 1.0, 3.0]) == 0
    assert num_neighbours_turned([3.0, 2.0, 1.0], [2.0, 3.0, 1.0]) == 1
    assert num_closer([1.0, 1.0, 2.0], 0.5) == 1
