"""The table of a comparison: order, failures, and the same intervals as the verdict."""

from __future__ import annotations

import pandas as pd
import pytest

from peftscope.analysis.study_verdict import judge
from peftscope.analysis.summary import summarise
from peftscope.schema.metric import MetricSpec
from peftscope.study.metrics import known_metrics


def _frames() -> tuple[pd.DataFrame, pd.DataFrame]:
    runs = pd.DataFrame(
        [
            {"run_id": "b", "method": "base", "card": "base", "learning_rate": None, "status": "ok"},
            {"run_id": "l0", "method": "lora", "card": "lora", "learning_rate": 1e-4, "status": "ok"},
            {
                "run_id": "l1",
                "method": "lora",
                "card": "lora",
                "learning_rate": 1e-4,
                "status": "diverged",
            },
            {"run_id": "o", "method": "oft", "card": "oft", "learning_rate": 1e-4, "status": "ok"},
            {
                "run_id": "x",
                "method": "xlora",
                "card": "xlora",
                "learning_rate": None,
                "status": "refused",
            },
        ]
    )
    runs["reason"] = None
    runs["seed"] = [0, 0, 1, 0, 0]
    scores = {"b": [0, 0, 0, 1], "l0": [1, 0, 0, 1], "o": [1, 1, 1, 1]}
    examples = pd.DataFrame(
        [
            {"run_id": run, "example_id": str(i), "draw": 0, "score": float(score)}
            for run, values in scores.items()
            for i, score in enumerate(values)
        ]
    )
    return runs, examples


def test_the_summary_lists_base_first_then_best_and_includes_failures() -> None:
    rows = summarise(*_frames(), base="base", metrics=known_metrics())
    assert [row["method"] for row in rows] == ["base", "oft", "lora", "xlora"]
    assert rows[1]["gain"] == pytest.approx(0.75)
    assert rows[2]["num_seeds"] == 1
    assert rows[2]["failures"] == ["diverged: None"]
    assert rows[3]["score"] is None


def test_examples_are_paired_by_id_not_by_position() -> None:
    runs, examples = _frames()
    straight = summarise(runs, examples, base="base", metrics=known_metrics())
    shuffled = summarise(runs, examples.sample(frac=1.0, random_state=0), base="base", metrics=known_metrics())
    assert [row["gain_interval"] for row in straight] == [row["gain_interval"] for row in shuffled]


def test_a_duplicated_run_counts_once() -> None:
    runs, examples = _frames()
    rows = summarise(pd.concat([runs, runs]), examples, base="base", metrics=known_metrics())
    assert [row["num_seeds"] for row in rows] == [1, 1, 1, 0]


def test_for_losses_the_lowest_is_listed_first() -> None:
    rows = {
        row["method"]: row
        for row in summarise(*_frames(), base="base", metrics=known_metrics(), higher_is_better=False)
    }
    assert rows["oft"]["gain"] == pytest.approx(-0.75)
    rows = summarise(*_frames(), base="base", metrics=known_metrics(), higher_is_better=False)
    assert [row["method"] for row in rows][:3] == ["base", "lora", "oft"]


def test_the_summary_table_agrees_with_the_verdict() -> None:
    runs, examples = _frames()
    second = runs[runs["run_id"] == "o"].assign(run_id="o2")
    more = examples[examples["run_id"] == "o"].assign(run_id="o2", score=[1.0, 0.0, 1.0, 1.0])
    runs, examples = pd.concat([runs, second]), pd.concat([examples, more])
    metric = MetricSpec(name="accuracy", unit="share", direction="higher", window="")
    verdict = judge(runs, examples, metric, base="base")
    for row in summarise(runs, examples, base="base", metrics=known_metrics()):
        candidate = verdict.candidate(row["method"])
        assert row["score"] == (candidate.score and candidate.score.value)
        assert row["score_interval"] == (candidate.score and candidate.score.interval)
        assert row["gain_interval"] == (candidate.gain and candidate.gain.interval)


def test_trials_are_not_in_the_table() -> None:
    runs, examples = _frames()
    runs["purpose"] = ["final", "final", "final", "trial", "trial"]
    assert [row["method"] for row in summarise(runs, examples, base="base", metrics=known_metrics())] == [
        "base",
        "lora",
    ]
