"""Promises about macro-F1: a mean of parts of examples whose intervals cover it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from peftscope.analysis.crossed import fit_crossed
from peftscope.analysis.intervals import mean_intervals
from peftscope.tasks.text.macro_f1 import macro_f1_parts

CLASSES = np.array(["common", "rare", "rarest"])
SHARES = np.array([0.8, 0.15, 0.05])


def _drawn(draw: np.random.Generator, count: int) -> tuple[list[str], list[str]]:
    truth = draw.choice(3, count, p=SHARES)
    told = np.where(draw.random(count) < 0.75, truth, draw.choice(3, count, p=SHARES))
    return list(CLASSES[truth]), list(CLASSES[told])


def test_the_mean_of_the_parts_is_the_macro_f1() -> None:
    truth, told = _drawn(np.random.default_rng(0), 300)
    expected = f1_score(truth, told, average="macro")
    assert np.mean(macro_f1_parts(truth, told)) == pytest.approx(expected)


def test_an_unknown_class_counts_against_its_examples_class_only() -> None:
    assert np.mean(macro_f1_parts(["a", "b"], ["a", "what?"])) == pytest.approx(0.5)
    assert np.mean(macro_f1_parts(["a", "b"], ["x", "y"])) == 0.0


def test_always_answering_the_majority_class_scores_low() -> None:
    assert np.mean(macro_f1_parts(["a"] * 95 + ["b"] * 5, ["a"] * 100)) < 0.5


def test_intervals_cover_the_macro_f1() -> None:
    draw = np.random.default_rng(1)
    true = f1_score(*_drawn(draw, 400_000), average="macro")
    covered = 0
    for _ in range(300):
        scores = np.array([macro_f1_parts(*_drawn(draw, 400))])
        (interval,) = mean_intervals(fit_crossed({"a": scores}, fixed=["a"]), 0.95)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= true <= interval.high
    assert covered >= 0.92 * 300
