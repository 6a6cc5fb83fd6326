"""The top tier holds the best."""

from __future__ import annotations

import numpy as np

from peftscope.analysis.crossed import fit_crossed
from peftscope.analysis.tiers import tiers_of


def _tiers(rates: list[float], *, source: int, sign: float = 1.0, examples: int = 300) -> tuple[tuple[str, ...], ...]:
    generator = np.random.default_rng(source)
    easy = generator.random(examples)
    scores = {
        str(place): (np.where(generator.random((3, examples)) < 0.5, easy, generator.random((3, examples))) < rate)
        for place, rate in enumerate(rates)
    }
    crossed = fit_crossed({name: values.astype(float) for name, values in scores.items()})
    return tiers_of(crossed, sign=sign, level=0.95, generator=generator, draws=1_000)


def test_the_best_is_top_tier_in_95_percent_of_studies() -> None:
    missed = sum("0" not in _tiers([0.53, *[0.5] * 7], source=s)[0] for s in range(200))
    assert missed <= 200 * 0.05 + 2.6 * np.sqrt(200 * 0.05 * 0.95)


def test_identical_methods_form_one_tier_in_95_percent_of_studies() -> None:
    split = sum(len(_tiers([0.5] * 6, source=s)) > 1 for s in range(200))
    assert split <= 200 * 0.05 + 2.6 * np.sqrt(200 * 0.05 * 0.95)


def test_well_separated_groups_form_separate_tiers() -> None:
    tiers = _tiers([0.8, 0.8, 0.5, 0.5, 0.2], source=0)
    assert [set(tier) for tier in tiers] == [{"0", "1"}, {"2", "3"}, {"4"}]


def test_for_metrics_to_minimise_the_lowest_form_the_top_tier() -> None:
    assert _tiers([0.8, 0.5, 0.2], source=0, sign=-1.0) == (("2",), ("1",), ("0",))


def test_every_method_is_in_exactly_one_tier() -> None:
    tiers = _tiers([0.5, 0.52, 0.55, 0.58, 0.6, 0.65], source=1)
    assert sorted(name for tier in tiers for name in tier) == ["0", "1", "2", "3", "4", "5"]


def test_a_single_method_forms_a_tier() -> None:
    assert _tiers([0.5], source=0) == (("0",),)


def test_tiers_find_an_outstanding_method_more_often_than_pairs() -> None:
    alone = sum(_tiers([0.61, *[0.5] * 7], source=s)[0] == ("0",) for s in range(40))
    assert alone >= 37


def test_identical_answers_leave_one_tier() -> None:
    answers = np.random.default_rng(0).integers(0, 2, (3, 50)).astype(float)
    crossed = fit_crossed(dict.fromkeys("abcd", answers))
    tiers = tiers_of(crossed, sign=1.0, level=0.95, generator=np.random.default_rng(0), draws=200)
    assert [set(tier) for tier in tiers] == [set("abcd")]
