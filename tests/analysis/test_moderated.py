"""Variances lean on each other as far as they look alike."""

from __future__ import annotations

import numpy as np
import pytest

from peftscope.analysis.moderated import CAP, moderated


def test_equal_variances_are_pooled_with_capped_degrees_of_freedom() -> None:
    found = moderated(np.full(8, 2.0), np.full(8, 2.0))
    assert found.variances == pytest.approx(np.full(8, 2.0))
    assert found.degrees == pytest.approx(np.full(8, CAP + 2.0))
    assert moderated(np.full(2, 2.0), np.full(2, 2.0)).degrees.tolist() == [4.0, 4.0]


def test_an_outlying_variance_is_shrunk_less_and_flagged() -> None:
    found = moderated(np.array([100.0, *[1.0] * 7]), np.full(8, 2.0))
    assert found.unsteady.tolist() == [True, *[False] * 7]
    assert found.degrees[0] < 2.1
    assert found.variances[0] > 98.0


def test_a_method_with_a_single_training_gets_the_pooled_variance() -> None:
    found = moderated(np.array([np.nan, 1.0, 2.0, 3.0]), np.array([0.0, 2.0, 2.0, 2.0]))
    assert found.variances[0] == pytest.approx(2.0)
    assert 0.0 < found.degrees[0] <= CAP


def test_a_method_marked_separate_is_not_part_of_variance_pooling() -> None:
    found = moderated(np.array([50.0, 1.0, 1.0, 1.0]), np.full(4, 2.0), alone=np.array([True, False, False, False]))
    assert found.variances == pytest.approx([50.0, 1.0, 1.0, 1.0])
    assert found.degrees[0] == 2.0
    assert not found.unsteady.any()


def test_unknown_variances_give_zero_degrees_of_freedom() -> None:
    found = moderated(np.full(3, np.nan), np.zeros(3))
    assert found.degrees.tolist() == [0.0] * 3
    assert found.variances.tolist() == [0.0] * 3


def test_moderated_variances_are_biased_upward_by_at_most_20_percent() -> None:
    source = np.random.default_rng(0)
    truths = np.array([1.0, 1.0, 1.0, 4.0])
    drawn = [moderated(truths * source.chisquare(2, 4) / 2, np.full(4, 2.0)).variances for _ in range(4_000)]
    assert truths.mean() <= np.mean(drawn) <= 1.2 * truths.mean()
