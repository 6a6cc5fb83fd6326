"""Variances lean on each other as far as they look alike."""

from __future__ import annotations

import numpy as np
import pytest

from peftscope.analysis.moderated import CAP, moderated


def test_equal_variances_lean_on_all_and_no_further_than_all_know() -> None:
    found = moderated(np.full(8, 2.0), np.full(8, 2.0))
    assert found.variances == pytest.approx(np.full(8, 2.0))
    assert found.degrees == pytest.approx(np.full(8, CAP + 2.0))
    assert moderated(np.full(2, 2.0), np.full(2, 2.0)).degrees.tolist() == [4.0, 4.0]


def test_one_that_scatters_more_leans_less_and_is_named() -> None:
    found = moderated(np.array([100.0, *[1.0] * 7]), np.full(8, 2.0))
    assert found.unsteady.tolist() == [True, *[False] * 7]
    assert found.degrees[0] < 2.1
    assert found.variances[0] > 98.0


def test_one_of_a_single_training_takes_what_all_say() -> None:
    found = moderated(np.array([np.nan, 1.0, 2.0, 3.0]), np.array([0.0, 2.0, 2.0, 2.0]))
    assert found.variances[0] == pytest.approx(2.0)
    assert 0.0 < found.degrees[0] <= CAP


def test_one_of_another_kind_neither_lends_nor_leans() -> None:
    found = moderated(np.array([50.0, 1.0, 1.0, 1.0]), np.full(4, 2.0), alone=np.array([True, False, False, False]))
    assert found.variances == pytest.approx([50.0, 1.0, 1.0, 1.0])
    assert found.degrees[0] == 2.0
    assert not found.unsteady.any()


def test_where_no_variance_is_known_none_is_said() -> None:
    found = moderated(np.full(3, np.nan), np.zeros(3))
    assert found.degrees.tolist() == [0.0] * 3
    assert found.variances.tolist() == [0.0] * 3


def test_the_variances_err_on_the_large_side_by_less_than_a_fifth() -> None:
    source = np.random.default_rng(0)
    truths = np.array([1.0, 1.0, 1.0, 4.0])
    drawn = [moderated(truths * source.chisquare(2, 4) / 2, np.full(4, 2.0)).variances for _ in range(4_000)]
    assert truths.mean() <= np.mean(drawn) <= 1.2 * truths.mean()
