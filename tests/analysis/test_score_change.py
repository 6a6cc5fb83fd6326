"""A score before and after: equivalent only where the examples can tell, and never by too few of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from peftscope.analysis.criteria import Criteria
from peftscope.analysis.score_change import ScoreChange, score_change
from peftscope.schema.record import ExampleOutcome

SHARE = Criteria(margin=0.02)


def _outcomes(scores: Sequence[float], groups: Sequence[str] | None = None) -> list[ExampleOutcome]:
    return [
        ExampleOutcome(example_id=str(i), score=score, group=None if groups is None else groups[i])
        for i, score in enumerate(scores)
    ]


def _change(before: Sequence[float], after: Sequence[float], criteria: Criteria = SHARE) -> ScoreChange:
    return score_change(_outcomes(before), _outcomes(after), criteria, sign=1.0)


def test_nothing_changed_is_equivalent_where_there_are_enough_examples() -> None:
    many, few = [0.0, 1.0] * 200, [0.0, 1.0] * 20
    assert _change(many, many).verdict == "equivalent"
    assert _change(few, few).verdict == "undecided"
    assert _change(few, few).interval[1] > 0.05


def test_a_loss_is_told_from_chance() -> None:
    before = [1.0] * 300 + [0.0] * 100
    worse = [1.0] * 260 + [0.0] * 140
    found = _change(before, worse)
    assert found.verdict == "worse"
    assert (found.before, found.after, found.num_changed) == (0.75, 0.65, 40)
    assert found.interval[0] < -0.1 < found.interval[1] < 0.0
    assert score_change(_outcomes(before), _outcomes(worse), SHARE, sign=-1.0).verdict == "better"
    assert _change(before, worse, Criteria()).verdict == "worse"
    assert _change(before, before, Criteria()).verdict == "undecided"


def test_draws_are_averaged_and_groups_count_once() -> None:
    twice = [ExampleOutcome(example_id="a", score=s, draw=d) for d, s in enumerate((0.0, 1.0))]
    other = [ExampleOutcome(example_id="b", score=1.0, draw=d) for d in range(2)]
    found = score_change([*twice, *other], [*twice, *other], SHARE, sign=1.0)
    assert (found.before, found.num_examples) == (0.75, 2)
    scores, groups = [1.0] * 400, [str(i % 4) for i in range(400)]
    grouped = score_change(_outcomes(scores, groups), _outcomes([0.9] * 400, groups), Criteria(), sign=1.0)
    assert grouped.change == pytest.approx(-0.1)


def test_other_examples_are_an_error() -> None:
    with pytest.raises(ValueError, match="not of the same examples"):
        _change([1.0], [1.0, 0.0])


def test_equally_good_models_are_rarely_called_equivalent_when_they_are_not() -> None:
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(300):
        before = (rng.random(400) < 0.7).astype(float)
        flips = rng.random(400)
        after = np.where((before == 1.0) & (flips < 0.0286), 0.0, before)  # 0.02 worse on average: at the margin
        wrong += _change(list(before), list(after)).verdict == "equivalent"
    assert wrong / 300 <= 0.08


def test_scores_that_are_no_right_or_wrong_spread_as_far_as_they_were_seen_to() -> None:
    cosines = [0.50 + 0.0005 * (i % 20) for i in range(40)]
    found = score_change(_outcomes(cosines), _outcomes([score + 0.0001 for score in cosines]), SHARE, sign=1.0)
    assert found.verdict == "equivalent"
    assert found.interval[1] - found.interval[0] < 0.01


def test_a_few_scores_that_are_all_alike_prove_nothing() -> None:
    found = _change([0.5, 0.5], [0.5, 0.5])
    assert found.verdict == "undecided"
    assert found.interval[1] > 0.02


def test_where_every_score_moved_a_little_the_interval_is_as_wide_as_they_moved() -> None:
    before = [0.4 + 0.02 * (i % 11) for i in range(24)]
    found = _change(before, [score + 0.002 * (-1) ** i for i, score in enumerate(before)])
    assert found.num_changed == 24
    assert found.interval[1] < 0.002
    assert found.verdict == "equivalent"
