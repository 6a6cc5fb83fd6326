"""What went wrong in training counts, is told by its score, and does not blur the others."""

from __future__ import annotations

import numpy as np
import pytest

from outcomes import judged_pairs
from peftscope.analysis.outcomes import Outcomes, Training, outcomes_of
from peftscope.analysis.pairs import compared, verdicts_of


def _outcomes(
    rates: dict[str, list[float | None]], *, base: float | None = 0.1, examples: int = 500, source: int = 0
) -> Outcomes:
    """Methods whose trainings have these accuracies; None diverged."""
    generator = np.random.default_rng(source)
    easy = generator.random(examples)

    def answers(rate: float) -> np.ndarray:
        return (np.where(generator.random(examples) < 0.5, easy, generator.random(examples)) < rate).astype(float)

    trainings = {
        name: [Training(seed=seed, scores=None if rate is None else answers(rate)) for seed, rate in enumerate(own)]
        for name, own in rates.items()
    }
    if base is not None:
        trainings["base"] = [Training(seed=0, scores=answers(base))]
    return outcomes_of(trainings, fixed=["base"] if base is not None else [])


def _verdict(found: Outcomes, first: str, second: str) -> str:
    for pair in judged_pairs(found, sign=1.0, margin=0.02, level=0.95):
        if {pair.first, pair.second} == {first, second}:
            return pair.verdict if pair.first == first else {"better": "worse", "worse": "better"}[pair.verdict]
    return "none"


STEADY = {str(t): [0.5, 0.51, 0.49] for t in range(6)}


def test_a_diverged_training_counts_as_the_untouched_base() -> None:
    found = _outcomes({**STEADY, "shaky": [0.6, 0.6, None]})
    place = found.whole.names.index("shaky")
    assert found.diverged[place] == 1
    assert found.whole.means[place] == pytest.approx((0.6 + 0.6 + 0.1) / 3, abs=0.05)
    assert found.steady.means[place] == pytest.approx(0.6, abs=0.06)


def test_without_a_base_diverged_trainings_are_counted_but_not_scored() -> None:
    found = _outcomes({**STEADY, "shaky": [0.6, 0.6, None]}, base=None)
    place = found.whole.names.index("shaky")
    assert found.diverged[place] == 1
    assert found.whole.means[place] == pytest.approx(0.6, abs=0.06)


def test_a_training_far_below_its_methods_best_counts_as_collapsed() -> None:
    found = _outcomes({**STEADY, "fell": [0.55, 0.12, 0.54]})
    assert found.collapsed[found.whole.names.index("fell")] == 1
    assert found.collapsed.sum() == 1


def test_ordinary_seed_variation_does_not_count_as_collapse() -> None:
    source, fell = np.random.default_rng(2), 0
    for study in range(100):
        rates = {str(t): list(0.5 + 0.05 * source.standard_normal(3)) for t in range(8)}
        fell += int(_outcomes(rates, source=study, examples=200).collapsed.sum())
    assert fell == 0


def test_a_collapsed_training_does_not_widen_the_intervals_of_other_methods() -> None:
    widths = []
    for rates in ({**STEADY, "fell": [0.5, 0.5, 0.5]}, {**STEADY, "fell": [0.55, 0.02, 0.54]}):
        pairs = judged_pairs(_outcomes(rates), sign=1.0, margin=0.02, level=0.95)
        widths.append(
            np.mean([p.difference.high - p.difference.low for p in pairs if "fell" not in (p.first, p.second)])
        )
    assert widths[1] < 1.3 * widths[0]


def test_a_stable_better_method_is_found_better_than_a_collapsing_one() -> None:
    found = _outcomes({**STEADY, "good": [0.8, 0.81, 0.79], "fell": [0.55, 0.02, 0.54]})
    assert _verdict(found, "good", "fell") == "better"
    assert compared(found, sign=1.0, margin=0.02).by_steady.any()


def test_a_method_failing_more_often_never_wins_by_its_successes() -> None:
    found = _outcomes({**STEADY, "risky": [0.75, 0.02, 0.76]})
    tested = compared(found, sign=1.0, margin=0.02)
    names = np.array(found.whole.names)
    risky = (names[tested.of.first] == "risky") | (names[tested.of.second] == "risky")
    told = np.array(verdicts_of(tested, 0.95, 1.0))
    of_steady = risky & np.isin(names[tested.of.first], list(STEADY)) | risky & np.isin(
        names[tested.of.second], list(STEADY)
    )
    assert (told[of_steady] == "undecided").all()


def test_there_is_no_verdict_for_a_method_with_one_training() -> None:
    found = _outcomes({**STEADY, "once": [0.95]})
    assert _verdict(found, "once", "0") == "none"
    assert _verdict(found, "0", "base") == "better"
