"""Intervals cover what they say they cover."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from peftscope.analysis.estimates import mean_estimate, paired_gain
from peftscope.analysis.summary import summarise


@pytest.mark.parametrize("truth", [0.03, 0.4, 0.9])
def test_the_interval_of_a_share_covers_the_truth_in_about_95_of_100_samples(truth: float) -> None:
    source = np.random.default_rng(0)
    estimates = [mean_estimate((source.random(100) < truth).astype(float)) for _ in range(600)]
    covered = np.mean([e.low <= truth <= e.high for e in estimates])
    assert 0.92 <= covered <= 0.985


def test_the_interval_of_a_paired_gain_covers_the_truth_in_about_95_of_100_samples() -> None:
    source, covered = np.random.default_rng(1), []
    for _ in range(600):
        hard = source.random(80)  # one difficulty for both, as with shared test examples
        gain = paired_gain((hard < 0.6).astype(float), (hard < 0.45).astype(float))
        covered.append(gain.low <= 0.15 <= gain.high)
    assert 0.92 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize("truth", [(0.02, 0.02), (0.0, 0.05), (0.3, 0.3)])
def test_the_interval_of_a_gain_holds_where_nearly_all_pairs_agree(truth: tuple[float, float]) -> None:
    source, covered = np.random.default_rng(4), []
    won, lost = truth
    for _ in range(800):
        pairs = source.choice([1.0, -1.0, 0.0], size=100, p=[won, lost, 1 - won - lost])
        gain = paired_gain(pairs, np.zeros(100))
        assert gain.interval is not None
        covered.append(gain.interval[0] <= won - lost <= gain.interval[1])
    assert np.mean(covered) >= 0.93


def test_no_difference_in_any_example_is_not_certainty() -> None:
    gain = paired_gain(np.ones(50), np.ones(50))
    assert gain.value == 0.0
    assert gain.interval is not None
    assert gain.interval[0] < -0.02
    assert gain.interval[1] > 0.02


def test_where_the_data_give_no_interval_there_is_none() -> None:
    assert mean_estimate(np.array([0.3])).interval is None
    assert paired_gain(np.array([0.75, 1.25]), np.array([0.25, 0.75])).interval is None


def test_pairing_gives_a_narrower_interval_than_two_separate_samples() -> None:
    hard = np.random.default_rng(2).random(200)
    a, b = (hard < 0.6).astype(float), (hard < 0.5).astype(float)
    shuffled = np.random.default_rng(3).permutation(b)
    paired, unpaired = paired_gain(a, b), paired_gain(a, shuffled)
    assert paired.high - paired.low < 0.6 * (unpaired.high - unpaired.low)


def test_no_success_at_all_still_has_an_interval() -> None:
    estimate = mean_estimate(np.zeros(100))
    assert estimate.low == 0.0
    assert 0.03 < estimate.high < 0.05


def _frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    runs = pd.DataFrame(
        [
            {"run_id": "b", "method": "base", "technique": "base", "learning_rate": None, "status": "ok"},
            {"run_id": "l0", "method": "lora", "technique": "lora", "learning_rate": 1e-4, "status": "ok"},
            {
                "run_id": "l1",
                "method": "lora",
                "technique": "lora",
                "learning_rate": 1e-4,
                "status": "diverged",
            },
            {"run_id": "o", "method": "oft", "technique": "oft", "learning_rate": 1e-4, "status": "ok"},
            {
                "run_id": "x",
                "method": "xlora",
                "technique": "xlora",
                "learning_rate": None,
                "status": "refused",
            },
        ]
    )
    runs["reason"] = None
    scores = {"b": [0, 0, 0, 1], "l0": [1, 0, 0, 1], "o": [1, 1, 1, 1]}
    examples = pd.DataFrame(
        [
            {"run_id": run, "example_id": str(i), "draw": 0, "score": float(score)}
            for run, values in scores.items()
            for i, score in enumerate(values)
        ]
    )
    return runs, examples


def test_the_summary_puts_the_base_first_then_the_best_and_keeps_failures() -> None:
    rows = summarise(*_frames(), base="base")
    assert [row["method"] for row in rows] == ["base", "oft", "lora", "xlora"]
    assert rows[1]["gain"] == pytest.approx(0.75)
    assert rows[2]["num_seeds"] == 1
    assert rows[2]["failures"] == ["diverged: None"]
    assert rows[3]["score"] is None


def test_examples_are_paired_by_id_not_by_position() -> None:
    runs, examples = _frames()
    straight = summarise(runs, examples, base="base")
    shuffled = summarise(runs, examples.sample(frac=1.0, random_state=0), base="base")
    assert [row["gain_interval"] for row in straight] == [row["gain_interval"] for row in shuffled]


def test_a_run_that_stands_twice_counts_once() -> None:
    runs, examples = _frames()
    rows = summarise(pd.concat([runs, runs]), examples, base="base")
    assert [row["num_seeds"] for row in rows] == [1, 1, 1, 0]


def test_where_lower_is_better_the_lowest_stands_first_and_a_fall_is_a_gain() -> None:
    rows = {row["method"]: row for row in summarise(*_frames(), base="base", higher_is_better=False)}
    assert rows["oft"]["gain"] == pytest.approx(-0.75)
    rows = summarise(*_frames(), base="base", higher_is_better=False)
    assert [row["method"] for row in rows][:3] == ["base", "lora", "oft"]
