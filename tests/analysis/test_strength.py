"""Kept shares and strengths have the values that are known, and intervals that hold them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from peftscope.analysis.strength import (
    Strengths,
    gain_at,
    kept_share,
    seed_interval,
    strength_that_keeps,
    strength_within,
    weights_at,
)

GRID = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
CURVE = np.array([0.0, 0.25, 0.6, 0.9, 1.0])
"""Kept shares that are true."""


def _drawn(rng: np.random.Generator, *, num_seeds: int, gain: float = 0.5, num_examples: int = 200) -> Strengths:
    """Right and wrong answers: seeds differ in their gain and in the share of it that each strength keeps."""
    of_example = rng.random(num_examples)
    scores = np.empty((len(GRID), num_seeds, num_examples))
    scores[0] = rng.random(num_examples) < 0.05
    for seed in range(num_seeds):
        own, luck = gain + rng.normal(0, 0.05), rng.random(num_examples)
        hardness = np.where(luck < 0.4, rng.random(num_examples), of_example)  # uniform, and shared by most seeds
        for place in range(1, len(GRID)):
            share = CURVE[place] + (rng.normal(0, 0.03) if place < len(GRID) - 1 else 0.0)
            scores[place, seed] = hardness < 0.05 + own * share
    others = tuple(0.5 + rng.normal(0, 0.06, num_seeds) for _ in range(3))
    return Strengths(strengths=GRID, scores=scores, others=others)


def _exact(curve: NDArray[np.float64], *, num_examples: int = 1000) -> Strengths:
    """Scores whose means are those of a curve, of two seeds with another luck."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (1, 2, num_examples))
    noise -= noise.mean(axis=2, keepdims=True)
    means = (0.2 + 0.4 * curve)[:, None, None]
    return Strengths(strengths=GRID, scores=means + noise * np.array([1, 1.1, 1.2, 1.1, 1.2])[:, None, None])


def test_known_curves_give_their_shares_and_the_first_strength_that_keeps_one() -> None:
    found = _exact(CURVE)
    for strength, share in zip(GRID, CURVE):
        kept = kept_share(found, float(strength))
        assert kept is not None
        assert kept.value == pytest.approx(share)
        assert kept.low is not None
        assert kept.low <= kept.value
    assert kept_share(found, 0.625).value == pytest.approx(0.75)  # type: ignore[union-attr]
    assert gain_at(found, 1.0).value == pytest.approx(0.4)
    for keep, wanted in ((0.9, 0.75), (0.75, 0.625), (1.0, 1.0), (0.25, 0.25)):
        strength = strength_that_keeps(found, keep)
        assert strength is not None
        assert strength.value == pytest.approx(wanted)
        assert strength.low is not None
        assert strength.high is not None
        assert strength.low <= wanted + 1e-9
        assert strength.high >= wanted - 1e-9
    over = _exact(np.array([0.0, 0.5, 1.3, 1.2, 1.0]))
    assert strength_that_keeps(over, 1.0).value == pytest.approx(0.25 + 0.25 * 0.5 / 0.8)  # type: ignore[union-attr]


def test_the_ends_are_exact_and_have_no_width() -> None:
    found = _drawn(np.random.default_rng(3), num_seeds=3)
    for end in (0.0, 1.0):
        kept = kept_share(found, end)
        assert kept is not None
        assert (kept.value, kept.low, kept.high) == (end, end, end)
    assert gain_at(found, 0.0).interval == [0.0, 0.0]


def test_without_a_detectable_gain_no_share_of_it_is_given() -> None:
    rng = np.random.default_rng(1)
    same = Strengths(strengths=GRID, scores=(rng.random((5, 3, 100)) < 0.4).astype(float))
    assert kept_share(same, 0.5) is None
    assert strength_that_keeps(same, 0.9) is None
    worse = _exact(-CURVE)
    assert kept_share(worse, 0.5) is None


def test_related_examples_widen_the_interval() -> None:
    single = _drawn(np.random.default_rng(2), num_seeds=3, num_examples=60)
    twice = np.repeat(single.scores, 5, axis=2)
    groups = np.repeat(np.arange(60), 5)
    grouped = Strengths(strengths=GRID, scores=twice, groups=groups, others=single.others)
    taken_apart = Strengths(strengths=GRID, scores=twice, others=single.others)

    def width(found: Strengths) -> float:
        low, high = gain_at(found, 0.5).interval or (0.0, 0.0)
        return high - low

    assert width(grouped) > width(taken_apart)
    assert gain_at(grouped, 0.5).value == pytest.approx(gain_at(single, 0.5).value)


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [2, 3])
def test_intervals_hold_the_true_share_and_strength_nineteen_times_in_twenty(num_seeds: int) -> None:
    rng = np.random.default_rng(num_seeds)
    held = {"share": 0, "strength": 0, "gain": 0}
    worlds = 200
    for _ in range(worlds):
        found = _drawn(rng, num_seeds=num_seeds)
        kept, strength, gain = kept_share(found, 0.5), strength_that_keeps(found, 0.9), gain_at(found, 1.0)
        held["share"] += kept is None or (kept.low or -9.0) <= 0.6 <= (kept.high or 9.0)
        held["strength"] += strength is None or (strength.low or 0.0) <= 0.75 <= (strength.high or 0.0)
        held["gain"] += (gain.low or -9.0) <= 0.5 <= (gain.high or 9.0)
    assert all(count >= 0.91 * worlds for count in held.values()), held  # 0.95 less two and a half standard errors


def test_a_limit_is_kept_up_to_where_the_first_seed_breaks_it() -> None:
    costs = np.array([[0.0, 0.0], [0.02, 0.01], [0.05, 0.04], [0.12, 0.08], [0.2, 0.16]])
    assert strength_within(GRID, costs, 0.05) == pytest.approx(0.5)
    assert strength_within(GRID, costs, 0.085) == pytest.approx(0.625)
    assert strength_within(GRID, costs, 1.0) == 1.0
    assert strength_within(GRID, costs, 0.0) == 0.0
    assert strength_within(GRID, costs + 0.1, 0.05) is None
    dip = np.array([[0.0], [0.2], [0.01], [0.01], [0.01]])
    assert strength_within(GRID, dip, 0.1) == pytest.approx(0.125)  # what comes after a breach is not looked at


def test_scatter_of_seeds_leans_on_other_methods_in_proportion() -> None:
    alone = seed_interval([0.2, 0.24])
    assert alone.low is not None
    assert alone.high is not None
    assert alone.high - alone.low == pytest.approx(2 * 12.706 * 0.02, rel=1e-3)  # Student's, one degree
    others = [np.array([0.1, 0.11, 0.12]), np.array([1.0, 1.1, 1.2]), np.array([0.4, 0.44, 0.48])]
    leaning = seed_interval([0.2, 0.24], others)
    assert leaning.low is not None
    assert leaning.high is not None
    assert leaning.high - leaning.low < 0.5 * (alone.high - alone.low)
    assert leaning.value == alone.value == pytest.approx(0.22)
    assert seed_interval([0.2]).low is None
    assert seed_interval([0.2], others).low is not None


def test_weights_lie_on_the_line_between_two_strengths() -> None:
    for strength in (0.0, 0.1, 0.5, 0.9, 1.0):
        weights = weights_at(GRID, strength)
        assert weights @ GRID == pytest.approx(strength)
        assert weights.sum() == pytest.approx(1.0)
        assert (weights >= 0).all()
