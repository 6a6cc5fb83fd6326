"""The best score against the number of trials, over every order they might have been offered in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from peftscope.analysis.best_so_far import best_so_far
from peftscope.analysis.tuning import Trial, Tuning


def _tuning(scores: list[float | None]) -> Tuning:
    trials = tuple(
        Trial(number=i, learning_rate=1e-4, origin="grid", run_id=str(i), valid_score=score,
              status="ok" if score is not None else "eliminated")
        for i, score in enumerate(scores)
    )  # fmt: skip
    return Tuning(method="lora", num_offered=len(scores), trials=trials, chosen=None)


@pytest.mark.parametrize("higher", [True, False])
def test_the_expected_best_is_the_mean_over_all_subsets(higher: bool) -> None:
    scores = [0.3, 0.7, 0.1, 0.5, 0.5]
    frame = best_so_far([_tuning(scores)], higher_is_better=higher)
    best = max if higher else min
    for size in range(1, 6):
        wanted = np.mean([best(subset) for subset in itertools.combinations(scores, size)])
        assert frame["expected_best"].iloc[size - 1] == pytest.approx(wanted)
    assert list(frame["best_in_order"]) == [best(scores[:n]) for n in range(1, 6)]


def test_a_trial_without_a_score_is_the_worst_there_is() -> None:
    frame = best_so_far([_tuning([None, 0.4, 0.6])])
    assert np.isnan(frame["expected_best"].iloc[0])
    assert frame["expected_best"].iloc[1] == pytest.approx((0.4 + 0.6 + 0.6) / 3)
    assert np.isnan(frame["best_in_order"].iloc[0])
