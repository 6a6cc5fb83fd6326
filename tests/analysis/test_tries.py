"""The best of many configurations is shown as what it is."""

from __future__ import annotations

import random

import pytest

from peftscope.analysis.tries import Scored, tries_by_method


def scored(experiment: str, value: float, run: str = "") -> Scored:
    return Scored(method="m", experiment=experiment, run=run or f"{experiment} {value}", value=value)


def test_a_method_tried_more_often_has_wider_intervals() -> None:
    one = tries_by_method([[scored("a", 0.5)]], deviation=0.01, higher_is_better=True)["m"].best
    many = tries_by_method([[scored(str(i), 0.5 - i / 100) for i in range(8)]], deviation=0.01, higher_is_better=True)[
        "m"
    ].best
    assert one.value == many.value
    assert one.high is not None
    assert many.high is not None
    assert one.high - one.value == pytest.approx(1.959964 * 0.01, rel=1e-3)
    assert many.high - many.value == pytest.approx(2.734369 * 0.01, rel=1e-3)


def test_a_result_published_twice_counts_once_and_a_repeated_run_twice() -> None:
    first, second = [scored("a", 0.5), scored("b", 0.49)], [scored("a", 0.5), scored("b", 0.51)]
    found = {
        each.experiment: each
        for each in tries_by_method([first, second], deviation=0.01, higher_is_better=True)["m"].tries
    }
    assert (found["a"].num_runs, found["b"].num_runs) == (1, 2)
    assert found["b"].value == pytest.approx(0.5)
    assert found["a"].high is not None
    assert found["b"].high is not None
    assert found["a"].high - found["a"].value == pytest.approx(2**0.5 * (found["b"].high - found["b"].value), rel=1e-3)


def test_without_a_repeated_run_there_is_no_interval() -> None:
    best = tries_by_method([[scored("a", 0.5)]], deviation=None, higher_is_better=True)["m"].best
    assert (best.low, best.high) == (None, None)


def test_a_share_near_zero_scatters_less_and_never_below_it() -> None:
    half = tries_by_method([[scored("a", 0.5)]], deviation=0.02, higher_is_better=True)["m"].best
    none = tries_by_method([[scored("a", 0.0)]], deviation=0.02, higher_is_better=True)["m"].best
    assert none.low == 0.0
    assert none.high is not None
    assert half.high is not None
    assert none.high < (half.high - 0.5) / 10


def test_the_interval_of_the_best_covers_its_worth_although_it_was_chosen() -> None:
    """Eight configurations of one worth: an interval for one alone would miss it often."""
    draw, missed = random.Random(0), 0
    for _ in range(2000):
        results = [[scored(str(i), draw.gauss(0.5, 0.01)) for i in range(8)]]
        best = tries_by_method(results, deviation=0.01, higher_is_better=True)["m"].best
        assert best.low is not None
        missed += best.low > 0.5
    assert missed / 2000 < 0.05


def test_the_least_is_best_where_less_is_better() -> None:
    found = tries_by_method([[scored("a", 0.5), scored("b", 0.4)]], deviation=None, higher_is_better=False)["m"]
    assert found.best.experiment == "b"
    assert [each.experiment for each in found.tries] == ["a", "b"]
