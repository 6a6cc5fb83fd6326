"""Promises about related examples, and about means with a long tail."""

from __future__ import annotations

import numpy as np
import pytest

from peftscope.analysis.clusters import codes_of, parts_of_groups
from peftscope.analysis.crossed import fit_crossed
from peftscope.analysis.intervals import mean_intervals


def test_group_parts_have_the_same_mean_as_the_scores() -> None:
    draw = np.random.default_rng(0)
    scores, codes = draw.random((3, 100)), np.sort(draw.integers(0, 12, 100))
    assert parts_of_groups(scores, codes).mean(axis=1) == pytest.approx(scores.mean(axis=1))


def test_examples_without_a_group_label_form_their_own_groups() -> None:
    assert codes_of([None, "a", None, "a"]) is not None
    assert len(set(codes_of([None, "a", None, "a"]))) == 3  # type: ignore[arg-type]
    assert codes_of([None, "a", "b"]) is None
    assert codes_of([]) is None


def test_parts_of_equal_sized_groups_are_the_group_means() -> None:
    draw = np.random.default_rng(1)
    scores = draw.random((1, 200))
    parts = parts_of_groups(scores, np.repeat(np.arange(40), 5))
    assert parts[0] == pytest.approx(scores.reshape(40, 5).mean(axis=1))


def test_clustered_intervals_cover_where_intervals_over_rows_do_not() -> None:
    draw = np.random.default_rng(2)
    codes = np.repeat(np.arange(50), 10)
    covered = {True: 0, False: 0}
    for _ in range(200):
        level = 0.5 + 0.25 * draw.standard_normal(50)
        scores = (draw.random((1, 500)) < level[codes]).astype(float)
        for told in covered:
            (interval,) = mean_intervals(fit_crossed({"a": scores}, fixed=["a"], groups=codes if told else None), 0.95)
            assert interval.low is not None
            assert interval.high is not None
            covered[told] += interval.low <= 0.5 <= interval.high
    assert covered[True] >= 180
    assert covered[False] < 170


def test_an_interval_of_skewed_losses_is_wider_towards_the_tail() -> None:
    draw = np.random.default_rng(3)
    (tailed,) = mean_intervals(fit_crossed({"a": np.exp(1.5 * draw.standard_normal((1, 200)))}, fixed=["a"]), 0.95)
    assert tailed.low is not None
    assert tailed.high is not None
    assert tailed.high - tailed.value > 1.2 * (tailed.value - tailed.low)
    (even,) = mean_intervals(fit_crossed({"a": 5.0 + draw.standard_normal((1, 200))}, fixed=["a"]), 0.95)
    assert even.low is not None
    assert even.high is not None
    assert even.high - even.value == pytest.approx(even.value - even.low, rel=0.05)
