"""What is said of the best of many holds although it was picked."""

from __future__ import annotations

import numpy as np
import pytest

from peftscope.analysis.crossed import Crossed, fit_crossed
from peftscope.analysis.intervals import mean_intervals
from peftscope.analysis.pooling import FEWEST, pooled


def _study(source: np.random.Generator, truths: np.ndarray, *, seed_sd: float = 0.06, examples: int = 300) -> Crossed:
    easy = source.random(examples)
    scores = {}
    for place, truth in enumerate(truths):
        own = truth + seed_sd * source.standard_normal((3, 1))
        copied = source.random((3, examples)) < 0.6
        scores[str(place)] = (np.where(copied, easy, source.random((3, examples))) < own).astype(float)
    return fit_crossed(scores)


@pytest.mark.slow
def test_the_selected_methods_interval_corrects_for_selection() -> None:
    source, plain, allowed = np.random.default_rng(0), [], []
    for _ in range(150):
        crossed = _study(source, np.full(12, 0.5))
        best = int(crossed.means.argmax())
        found = pooled(crossed, source)
        own, seen = found.estimate(str(best), 0.95), mean_intervals(crossed, 0.95)[best]
        allowed.append(own.low <= 0.5 <= own.high)
        plain.append(seen.low <= 0.5 <= seen.high)
    assert np.mean(allowed) >= 0.93
    assert np.mean(plain) < 0.9


def test_a_method_far_above_the_others_is_not_shrunk() -> None:
    crossed = _study(np.random.default_rng(1), np.array([0.85, *[0.5] * 7]), seed_sd=0.02)
    found = pooled(crossed, np.random.default_rng(2))
    assert found.estimate("0", 0.95).value == pytest.approx(crossed.means[0], abs=0.02)
    assert found.best_chances(1.0)["0"] > 0.99
    assert found.best_chances(-1.0)["0"] < 0.01
    left = [name for name in found.names if name != "0"]
    assert found.best_chances(1.0, among=()) == {}
    chances = found.best_chances(1.0, among=left)
    assert list(chances) == left
    assert sum(chances.values()) == pytest.approx(1.0)


@pytest.mark.slow
def test_probabilities_of_being_the_best_are_calibrated() -> None:
    source, said, true = np.random.default_rng(3), [], []
    for _ in range(150):
        truths = 0.5 + 0.05 * source.standard_normal(6)
        said += list(pooled(_study(source, truths), source).best_chances(1.0).values())
        true += [truth == truths.max() for truth in truths]
    said, true = np.array(said), np.array(true)
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0)):
        inside = (said >= low) & (said <= high)
        error = 2.6 * np.sqrt(0.25 / inside.sum())
        assert abs(said[inside].mean() - true[inside].mean()) < 0.05 + error


def test_too_few_methods_are_not_shrunk_towards_each_other() -> None:
    found = pooled(_study(np.random.default_rng(4), np.full(FEWEST - 1, 0.5)), np.random.default_rng(0))
    assert not found.shrunk


def test_the_untouched_base_is_not_shrunk() -> None:
    source = np.random.default_rng(5)
    scores = {str(t): (source.random((3, 400)) < 0.5).astype(float) for t in range(8)}
    crossed = fit_crossed({**scores, "base": (source.random((1, 400)) < 0.2).astype(float)}, fixed=["base"])
    assert pooled(crossed, source).estimate("base", 0.95).value == pytest.approx(crossed.means[8], abs=0.005)


def test_a_single_example_gives_no_pooled_estimate() -> None:
    assert pooled(fit_crossed({"a": np.ones((3, 1)), "b": np.zeros((3, 1))}), np.random.default_rng(0)) is None
