"""Promises about eliminations: only who is worse on everything, beyond chance, than one and the same other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from peftscope.analysis.outcomes import Training, outcomes_of
from peftscope.analysis.race import Contest, droppable_in, eliminated_in, has_tests
from peftscope.schema.metric import MetricSpec
from peftscope.schema.seeds import PLANNED, RACE, Looks, race_share

ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="")
MEMORY = MetricSpec(name="memory_bytes", unit="bytes", direction="lower", window="", limit="memory")
TIME = MetricSpec(name="time_s", unit="s", direction="lower", window="", limit="time", repeats=False)
FORGETTING = MetricSpec(name="forgetting", unit="nats/token", direction="lower", window="", limit="forgetting")
SCORES = {"good": 0.6, "fair": 0.58, "low": 0.3, "lower": 0.25}
ALPHA = 0.002


def _contest(scores: Mapping[str, float] = SCORES, prices: Mapping[str, float] | None = None, **parts: Any) -> Contest:
    """Four methods, two seeds each; the prices of good and fair are 1, of low and lower 1.2."""
    prices = {"good": 1.0, "fair": 1.0, "low": 1.2, "lower": 1.2, **(prices or {})}
    draw = np.random.default_rng(0)
    hard = draw.random(800)
    trainings = {
        name: [
            Training(seed=seed, scores=(hard < share + 0.004 * draw.standard_normal()).astype(float))
            for seed in range(2)
        ]
        for name, share in scores.items()
    }
    known: dict[str, Any] = {
        "outcomes": outcomes_of(trainings),
        "metric": ACCURACY,
        "costs": {
            MEMORY: {name: np.full(2, 1e9 * prices[name]) for name in scores},
            TIME: {name: 60.0 * prices[name] * (1.0 + 0.002 * draw.standard_normal(2)) for name in scores},
        },
        "conditions": dict.fromkeys(scores, "one machine"),
        "raced": {name: (f"{name} 0", f"{name} 1") for name in scores},
    }
    return Contest(**{**known, **parts})


def _ended(contest: Contest) -> dict[str, str]:
    return {found.method: found.by for found in eliminated_in(contest, ALPHA)}


def test_a_method_worse_on_every_metric_is_eliminated_with_its_figures() -> None:
    first, second = eliminated_in(_contest(), ALPHA)
    assert (first.method, second.method) == ("low", "lower")
    assert first.by in ("good", "fair")
    assert [worse.metric.name for worse in first.worse] == ["accuracy", "memory_bytes", "time_s"]
    assert first.worse[0].value < first.worse[0].other
    assert first.worse[1].value > first.worse[1].other
    assert first.num_seeds == 2
    assert first.p_value <= ALPHA


def test_a_cheap_method_with_a_low_score_stays() -> None:
    assert "low" not in _ended(_contest(prices={"low": 0.8}))


def test_a_tie_on_one_metric_is_enough_to_stay() -> None:
    contest = _contest()
    same = {MEMORY: dict.fromkeys(SCORES, np.full(2, 1e9)), TIME: contest.costs[TIME]}
    assert _ended(_contest(costs=same)) == {}
    nearly = {MEMORY: {n: v * (1.005 if n.startswith("low") else 1.0) for n, v in same[MEMORY].items()},
              TIME: contest.costs[TIME]}  # fmt: skip
    assert _ended(_contest(costs=nearly)) == {}
    as_fast = {MEMORY: contest.costs[MEMORY], TIME: {n: np.array([60.0, 61.0]) for n in SCORES}}
    assert _ended(_contest(costs=as_fast)) == {}


def test_bytes_that_differ_over_seeds_are_tested_like_times() -> None:
    steady = _contest().costs
    memory = {**steady[MEMORY], "low": np.array([1.0e9, 1.1e9]), "lower": np.array([1.15e9, 1.25e9])}
    costs = {MEMORY: memory, TIME: steady[TIME]}
    assert _ended(_contest(costs=costs)) == {}
    surely = {**memory, "low": np.array([1.60e9, 1.62e9]), "lower": np.array([1.60e9, 1.62e9])}
    assert set(_ended(_contest(costs={**costs, MEMORY: surely}))) == {"low", "lower"}


def test_an_elimination_names_the_runs_of_both_methods_also_those_without_a_score() -> None:
    raced = {name: tuple(f"{name} {seed}" for seed in range(7)) for name in SCORES}
    found = eliminated_in(_contest(raced=raced), ALPHA)
    assert {(each.num_seeds, each.run_ids, each.by_run_ids) for each in found} == {
        (7, raced[each.method], raced[each.by]) for each in found
    }


def test_scores_of_one_seed_are_no_test() -> None:
    once = {name: [Training(seed=0, scores=np.ones(800))] for name in SCORES}
    assert has_tests(_contest())
    assert not has_tests(_contest(outcomes=outcomes_of(once)))
    assert not has_tests(_contest(outcomes=None))


def test_one_and_the_same_other_has_to_be_better_on_everything() -> None:
    scores = {"good": 0.6, "cheap": 0.2, "low": 0.3}
    contest = _contest(scores, {"good": 1.5, "cheap": 0.5, "low": 1.0})
    assert _ended(contest) == {}


def test_near_scores_eliminate_nobody() -> None:
    assert _ended(_contest({"good": 0.6, "fair": 0.6, "low": 0.598, "lower": 0.597})) == {}


def test_costs_of_other_conditions_are_not_compared() -> None:
    conditions = {"good": "a", "fair": "a", "low": "b", "lower": "a"}
    assert set(_ended(_contest(conditions=conditions))) == {"lower"}
    assert _ended(_contest(conditions={})) == {}


def test_a_missing_metric_eliminates_nobody() -> None:
    contest = _contest()
    unmeasured = {**contest.costs, MEMORY.model_copy(update={"name": "other", "limit": "other"}): {}}
    assert _ended(_contest(costs=unmeasured)) == {}


def test_a_method_that_looks_better_in_what_else_can_be_limited_stays() -> None:
    forgets = {"good": 0.2, "fair": 0.2, "low": 0.1, "lower": 0.3}
    assert set(_ended(_contest(qualities={FORGETTING: forgets}))) == {"lower"}


def test_a_method_able_to_more_stays() -> None:
    abilities = {"low": frozenset({"mergeable"})}
    assert set(_ended(_contest(abilities=abilities))) == {"lower"}


def test_a_method_whose_rate_is_not_bracketed_stays() -> None:
    contest = _contest(spared=frozenset({"low"}))
    assert set(_ended(contest)) == {"lower"}
    assert droppable_in(contest) == {"lower"}


def test_the_base_is_neither_eliminated_nor_a_reason() -> None:
    contest = _contest()
    outcomes = outcomes_of(
        {
            **{name: [Training(seed=s, scores=contest.outcomes.whole.example_means[i]) for s in range(2)]
               for i, name in enumerate(contest.outcomes.whole.names)},
            "base": [Training(seed=0, scores=np.ones(800))],
        },
        fixed=["base"],
    )  # fmt: skip
    assert "base" not in {name for pair in _ended(_contest(outcomes=outcomes)).items() for name in pair}


def test_where_trainings_collapsed_a_method_that_gained_nothing_may_have_been_unlucky() -> None:
    draw = np.random.default_rng(1)
    shares = {"good": (0.6, 0.6), "fair": (0.59, 0.02), "low": (0.02, 0.02), "lower": (0.02, 0.02)}
    trainings = {
        name: [Training(seed=s, scores=(draw.random(800) < share).astype(float)) for s, share in enumerate(own)]
        for name, own in shares.items()
    }
    outcomes = outcomes_of(trainings)
    assert outcomes.collapsed.any()
    assert _ended(_contest(outcomes=outcomes)) == {}


def test_shares_of_verdicts_race_and_added_looks_never_exceed_one() -> None:
    looks = Looks(seeds=tuple(tuple(range(count)) for count in range(3, 12)))
    race = sum(race_share(number) for number in range(50))
    assert race < RACE + 1e-9
    assert sum(looks.shares) + looks.share_of_the_next + race <= 1.0
    assert looks.shares[0] == PLANNED
