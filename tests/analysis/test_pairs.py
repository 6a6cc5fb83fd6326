"""Verdicts on pairs: corrected over all of them, better, equivalent or undecided."""

from __future__ import annotations

import numpy as np
import pytest

from outcomes import judged_pairs, outcomes_of_scores
from peftscope.analysis.outcomes import Outcomes
from peftscope.analysis.pairs import compared, superiority, verdicts_of
from peftscope.analysis.pooling import pooled
from peftscope.analysis.verdict import Pair


def _crossed(
    rates: list[float], *, seeds: int = 3, examples: int = 400, seed_sd: float = 0.0, source: int = 0
) -> Outcomes:
    generator = np.random.default_rng(source)
    easy = generator.random(examples)
    scores = {}
    for place, rate in enumerate(rates):
        copied = generator.random((seeds, examples)) < 0.8
        own = rate + seed_sd * generator.standard_normal((seeds, 1))
        scores[str(place)] = (np.where(copied, easy, generator.random((seeds, examples))) < own).astype(float)
    return outcomes_of_scores(scores)


def _pair(rates: list[float], **how: float) -> Pair:
    margin = how.pop("margin", 0.02)
    return judged_pairs(_crossed(rates, **how), sign=1.0, margin=margin, level=0.95)[0]  # type: ignore[arg-type]


def test_a_large_gap_is_better_in_the_direction_of_the_metric() -> None:
    crossed = _crossed([0.7, 0.4])
    up = judged_pairs(crossed, sign=1.0, margin=0.02, level=0.95)[0]
    assert (up.first, up.second, up.verdict) == ("0", "1", "better")
    down = judged_pairs(crossed, sign=-1.0, margin=0.02, level=0.95)[0]
    assert (down.first, down.second, down.verdict) == ("1", "0", "better")
    assert down.difference.value > 0.0


def test_a_significant_difference_within_the_margin_is_equivalent() -> None:
    pair = _pair([0.50, 0.49], seeds=10, examples=20_000)
    assert pair.verdict == "equivalent"
    assert pair.p_adjusted is not None
    assert pair.p_adjusted < 0.05


def test_not_detectably_different_is_not_equivalent() -> None:
    pair = _pair([0.5, 0.5], examples=100, source=1)
    assert pair.verdict == "undecided"


def test_without_a_margin_nothing_is_called_equivalent() -> None:
    pair = judged_pairs(_crossed([0.5, 0.5], examples=20_000, seeds=10), sign=1.0, margin=None, level=0.95)[0]
    assert pair.verdict == "undecided"
    assert pair.p_equivalent is None


def test_the_interval_excludes_zero_exactly_when_the_test_is_significant() -> None:
    for source in range(40):
        for pair in judged_pairs(_crossed([0.5, 0.54, 0.58], source=source), sign=1.0, margin=0.02, level=0.95):
            low, high = pair.difference.low, pair.difference.high
            assert low is not None
            assert high is not None
            assert (pair.p_value < 0.05) == (low > 0.0 or high < 0.0)


def test_methods_differing_by_the_margin_are_rarely_declared_equivalent() -> None:
    wrong = 0
    for source in range(300):
        crossed = _crossed([0.54, 0.5], source=source, seeds=4, examples=3_000)
        wrong += verdicts_of(compared(crossed, sign=1.0, margin=0.04), 0.95, 1.0)[0] == "equivalent"
    assert wrong <= 300 * 0.05 + 2.6 * np.sqrt(300 * 0.05 * 0.95)


def test_superiority_is_the_share_of_new_trainings_that_score_higher() -> None:
    source, seed_sd, told, seen = np.random.default_rng(1), 0.03, [], []
    for _ in range(60):
        easy = source.random(500)

        def training(rate: float, count: int, easy: np.ndarray = easy) -> np.ndarray:
            own = rate + seed_sd * source.standard_normal((count, 1))
            return np.where(source.random((count, 500)) < 0.8, easy, source.random((count, 500))) < own

        found = outcomes_of_scores({"a": training(0.53, 5).astype(float), "b": training(0.5, 5).astype(float)})
        of = compared(found, sign=1.0, margin=None).of
        chance = superiority(found.whole, of, pooled(found.whole, source), 1.0)[0]
        told.append(chance if of.first[0] == 0 else 1.0 - chance)
        seen.append((training(0.53, 200).mean(axis=1) > training(0.5, 200).mean(axis=1)).mean())
    assert np.mean(told) == pytest.approx(np.mean(seen), abs=0.05)


def test_there_is_no_verdict_from_one_seed() -> None:
    assert judged_pairs(_crossed([0.9, 0.1], seeds=1), sign=1.0, margin=0.02, level=0.95) == ()


def test_an_undecided_pair_reports_how_many_more_seeds_it_needs() -> None:
    pair = _pair([0.55, 0.5], seed_sd=0.04, examples=2_000, source=3)
    assert pair.verdict == "undecided"
    assert pair.more_seeds is not None
    assert 1 <= pair.more_seeds.seeds <= 97
    assert _pair([0.7, 0.4]).more_seeds is None
