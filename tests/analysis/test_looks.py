"""Promises about verdicts at several looks: one error for all, and seeds go where they decide."""

from __future__ import annotations

import numpy as np
import pytest

from peftscope.analysis.contenders import contenders
from peftscope.analysis.criteria import Criteria
from peftscope.analysis.looks import TrainedMethods
from peftscope.analysis.outcomes import Training, outcomes_of
from peftscope.analysis.pairs import compared, verdicts_of
from peftscope.schema.seeds import PLANNED, Looks, SeedPlan

PLAN = SeedPlan(first=3, most=6)


def _trainings(accuracies: dict[str, float], seeds: int, sd: float = 0.01) -> dict[str, list[Training]]:
    draw = np.random.default_rng(0)
    hard = draw.random(500)
    return {
        name: [
            Training(seed=seed, scores=(hard < accuracy + sd * draw.standard_normal()).astype(float))
            for seed in range(seeds)
        ]
        for name, accuracy in accuracies.items()
    }


def _next(trainings: dict[str, list[Training]]) -> tuple[str, ...]:
    return contenders(TrainedMethods(trainings=trainings), PLAN.looks, Criteria(margin=0.02), most=PLAN.most)


def test_alpha_shares_of_all_interim_looks_never_exceed_one() -> None:
    looks = Looks(seeds=((0, 1, 2), (0, 1, 2, 3), (0, 1, 2, 3, 4)))
    assert looks.shares[0] == PLANNED
    assert sum(looks.shares) + looks.share_of_the_next < 1.0
    assert sum(PLAN.looks.shares) == pytest.approx(PLANNED)


def test_more_seeds_go_to_the_best_and_its_undecided_rivals() -> None:
    found = _next(_trainings({"a": 0.60, "b": 0.575, "far": 0.2, "farther": 0.1}, 3, sd=0.02))
    assert set(found) == {"a", "b"}


def test_no_more_seeds_are_run_once_all_pairs_are_decided() -> None:
    assert _next(_trainings({"a": 0.9, "b": 0.5, "c": 0.4}, 3)) == ()


def test_early_verdicts_stand_and_later_looks_judge_continuing_methods() -> None:
    trainings = _trainings({"a": 0.60, "b": 0.58, "far": 0.2, "near far": 0.22}, 4)
    trainings["far"] = trainings["far"][:3]
    trainings["near far"] = trainings["near far"][:3]
    looks = TrainedMethods(trainings=trainings).at(PLAN.looks)
    assert [look.in_play for look in looks] == [{"a", "b", "far", "near far"}, {"a", "b"}]
    tested = compared(outcomes_of(trainings), sign=1.0, margin=0.02, looks=looks)
    names = outcomes_of(trainings).whole.names
    verdicts = {
        (names[first], names[second]): verdict
        for first, second, verdict in zip(tested.of.first, tested.of.second, verdicts_of(tested, 0.95, 1.0))
    }
    assert verdicts["a", "far"] == "better"


def test_repeated_analyses_of_a_study_use_a_stricter_level() -> None:
    trainings = _trainings({"a": 0.60, "b": 0.56, "c": 0.5}, 4)
    outcomes = outcomes_of(trainings)
    once = compared(outcomes, sign=1.0, margin=None)
    again = TrainedMethods(trainings=trainings).at(Looks(seeds=((0, 1), (0, 1, 2, 3))))
    assert (compared(outcomes, sign=1.0, margin=None, looks=again[1:]).p_adjusted >= once.p_adjusted).all()


def test_interim_looks_without_seeds_yet_are_excluded() -> None:
    assert len(TrainedMethods(trainings=_trainings({"a": 0.6, "b": 0.5}, 3)).at(PLAN.looks)) == 1
