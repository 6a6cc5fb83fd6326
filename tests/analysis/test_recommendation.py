"""Limits filter, preferences rank, and what is not known is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from judged import LOSS, a_candidate, a_verdict, failures
from peftscope.analysis.recommendation import Recommendation, Relative, recommend
from peftscope.analysis.relatives import relatives
from peftscope.analysis.traits import Traits
from peftscope.analysis.verdict import Candidate, MetricSummary, PairVerdict, Verdict
from peftscope.analysis.within_limits import Breach, Limits
from peftscope.schema.record import MethodFacts, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec
from peftscope.study.metrics import known_metrics
from peftscope.views.recommendation import recommendation_topics
from pretend import a_record

TRAITS = {
    t.name: t
    for t in (
        Traits(name="plain", knobs={"r": 32, "alpha": 64}),
        Traits(name="stable", variant_of="plain", settings={"use_stable": True}, knobs={"r": 64, "alpha": 64}),
        Traits(name="other-steps", variant_of="plain", knobs={"r": 32, "alpha": 64}, optimizer="other"),
        Traits(name="from-data", variant_of="plain", settings={"init": "data"}, starts_from_data=True),
        Traits(name="turning", abilities=frozenset({"mergeable"})),
        Traits(name="stuck"),
    )
}


def _recommend(verdict: Verdict, **options: Any) -> Recommendation:
    return recommend(verdict, metrics=known_metrics(), **options)


def _kin(verdict: Verdict, **records: RunRecord) -> tuple[Relative, ...]:
    """Relatives of ``plain``."""
    return relatives(_recommend(verdict), "plain", traits=TRAITS, records=records)


BASE = a_candidate("base", 0.1, is_base=True)


def _costs(memory: float = 1e9, checkpoint: float = 1e6, time: float = 60.0, **more: float) -> dict[str, float]:
    known = {"peak_train_memory_bytes": memory, "checkpoint_bytes": checkpoint, "train_time_s": time}
    return {**known, **more}


def _run(name: str, *, built: dict[str, Any] | None = None, **knobs: Any) -> RunRecord:
    facts = None if built is None else MethodFacts(tuner_class="T", adapted_modules=(), peft_config=built)
    return a_record(RunSpec(model="m", task="math", method=MethodSpec(name=name, knobs=knobs)), method_facts=facts)


def _kin_knobs(**records: RunRecord) -> list[tuple[str | None, dict[str, tuple[object, object]]]]:
    """What the relatives of ``plain`` are set against, and how they ran otherwise."""
    candidates = [
        a_candidate(method, 0.6 - number / 100, card=record.spec.method.name)
        for number, (method, record) in enumerate(records.items())
    ]
    return [(kin.against, dict(kin.knobs)) for kin in _kin(a_verdict(BASE, *candidates), **records)]


def _choice(found: Recommendation) -> str | None:
    return found.choice.method if found.choice is not None else None


def test_the_choice_is_the_best_estimate_with_wins_and_ties() -> None:
    found = _recommend(
        a_verdict(BASE, a_candidate("a", 0.60), a_candidate("b", 0.595), a_candidate("c", 0.57), a_candidate("d", 0.4))
    )
    assert _choice(found) == "a"
    assert [pair.second for pair in found.beaten] == ["base", "d"]
    assert [(tie.method, tie.kind) for tie in found.ties] == [("b", "equivalent"), ("c", "undecided")]
    assert all(tie.pair is not None and tie.pair.first == "a" for tie in found.ties)
    assert found.base_pair is not None
    assert found.base_pair.verdict == "better"


def test_for_metrics_to_minimise_the_lowest_is_the_best() -> None:
    found = _recommend(a_verdict(a_candidate("a", 2.0), a_candidate("b", 1.0), metric=LOSS))
    assert _choice(found) == "b"
    found = _recommend(a_verdict(a_candidate("a", 2.0), a_candidate("b", 1.0), metric=LOSS), limits=Limits(score=1.5))
    assert [e.method for e in found.excluded] == ["a"]


def test_methods_over_limits_are_excluded_with_the_amount_exceeded() -> None:
    a = a_candidate("a", 0.6, metrics=_costs(memory=13e9, checkpoint=60e6))
    b = a_candidate("b", 0.5, metrics=_costs(memory=12e9, checkpoint=50e6))
    found = _recommend(a_verdict(BASE, a, b), limits=Limits(costs={"memory": 12e9, "checkpoint": 50e6}))
    assert _choice(found) == "b"
    (excluded,) = found.excluded
    assert excluded.method == "a"
    assert excluded.breaches == (
        Breach(limit="memory", value=13e9, bound=12e9), Breach(limit="checkpoint", value=60e6, bound=50e6)
    )  # fmt: skip


def test_a_limit_holds_for_every_run_and_unmeasured_metrics_fail_it() -> None:
    shaky = a_candidate("a", 0.6)
    shaky = replace(
        shaky, metrics={"peak_train_memory_bytes": MetricSummary(mean=11e9, low=9e9, high=13e9, num_runs=3)}
    )
    unknown = a_candidate("b", 0.55)
    found = _recommend(a_verdict(BASE, shaky, unknown), limits=Limits(costs={"memory": 12e9}))
    values = {e.method: e.breaches[0].value for e in found.excluded}
    assert values == {"a": 13e9, "b": None}


def test_the_minimum_score_applies_to_the_estimate_not_the_interval() -> None:
    verdict = a_verdict(a_candidate("a", 0.41, half=0.05), a_candidate("b", 0.39, half=0.05))
    found = _recommend(verdict, limits=Limits(score=0.4))
    assert _choice(found) == "a"
    assert [e.method for e in found.excluded] == ["b"]


def test_unmergeable_methods_are_excluded_on_request() -> None:
    verdict = a_verdict(BASE, a_candidate("stuck", 0.6), a_candidate("turning", 0.5))
    assert _choice(_recommend(verdict, traits=TRAITS)) == "stuck"
    found = _recommend(verdict, limits=Limits(needs=("mergeable",)), traits=TRAITS)
    assert _choice(found) == "turning"
    assert [(e.method, e.breaches[0].limit) for e in found.excluded] == [("stuck", "mergeable")]


def test_no_method_is_chosen_if_none_satisfies_the_limits() -> None:
    found = _recommend(
        a_verdict(BASE, a_candidate("a", 0.6, metrics=_costs())), limits=Limits(costs={"memory": 1.0}, score=0.3)
    )
    assert found.choice is None
    assert {e.method for e in found.excluded} == {"a", "base"}


def test_preferring_score_first_retains_methods_not_detectably_worse() -> None:
    verdict = a_verdict(
        BASE,
        a_candidate("a", 0.60, metrics=_costs(memory=3e9)),
        a_candidate("b", 0.58, metrics=_costs(memory=2e9)),
        a_candidate("c", 0.40, metrics=_costs(memory=1e9)),
    )
    assert _choice(_recommend(verdict, prefer=["score"])) == "a"
    assert _choice(_recommend(verdict, prefer=["score", "memory"])) == "b"
    found = _recommend(verdict, prefer=["memory"])
    assert _choice(found) == "c"
    assert [pair.second for pair in found.beats_choice] == ["a", "b"]


def test_equal_costs_are_resolved_by_the_next_preference() -> None:
    verdict = a_verdict(
        BASE,
        a_candidate("a", 0.60, metrics=_costs(memory=1e9, time=90.0)),
        a_candidate("b", 0.58, metrics=_costs(memory=1e9, time=30.0)),
        a_candidate("c", 0.57, metrics=_costs(memory=2e9, time=10.0)),
    )
    assert _choice(_recommend(verdict, prefer=["memory", "time"])) == "b"
    assert _choice(_recommend(verdict, prefer=["memory", "score"])) == "a"


def test_a_cheap_method_that_learns_nothing_is_not_preferred() -> None:
    verdict = a_verdict(
        BASE, a_candidate("a", 0.6, metrics=_costs(memory=2e9)), a_candidate("idle", 0.1, metrics=_costs(memory=1e9))
    )
    assert _choice(_recommend(verdict, prefer=["memory"])) == "a"


def test_an_unbeaten_base_is_the_choice() -> None:
    found = _recommend(a_verdict(a_candidate("base", 0.5, is_base=True), a_candidate("plain", 0.53)), traits=TRAITS)
    assert _choice(found) == "base"
    assert found.base_unbeaten
    assert found.leading is not None
    assert found.leading.method == "plain"
    assert found.base_pair is not None
    assert (found.base_pair.first, found.base_pair.more_seeds.seeds) == ("plain", 4)


def test_a_method_not_above_the_majority_share_is_not_praised() -> None:
    """19 of 20 rows have one label: always giving it scores 95 %, and so does a method that learned nothing else."""
    told = {"majority_score": 0.95, "same_answer_share": 1.0}
    base, lora = a_candidate("base", 0.0, is_base=True), a_candidate("lora", 0.95, metrics=told)
    found = _recommend(a_verdict(base, lora))
    assert (_choice(found), found.base_unbeaten, found.majority_unbeaten) == ("base", True, True)
    said = "\n".join(line for t in recommendation_topics(found, None, ()) for line in t.lines)
    assert "Nothing here is detectably better than always giving the commonest answer of the training rows" in said
    assert "+95" not in said
    better = a_candidate("oft", 0.99, metrics=told)
    assert _choice(_recommend(a_verdict(base, lora, better))) == "oft"


def test_a_base_below_min_score_is_never_recommended() -> None:
    verdict = a_verdict(a_candidate("base", 0.5, is_base=True), a_candidate("a", 0.53))
    found = _recommend(verdict, limits=Limits(score=0.52))
    assert _choice(found) == "a"
    assert found.base_pair is not None
    assert found.base_pair.verdict == "undecided"


def test_the_cheapest_tied_method_is_named() -> None:
    verdict = a_verdict(
        BASE,
        a_candidate("a", 0.60, metrics=_costs(memory=3e9, checkpoint=1e6)),
        a_candidate("b", 0.58, metrics=_costs(memory=2e9, checkpoint=2e6)),
        a_candidate("c", 0.30, metrics=_costs(memory=1e9, checkpoint=1e3)),
    )
    found = _recommend(verdict)
    assert found.cheapest["memory"] == "b"
    assert found.cheapest["checkpoint"] == "a"


def test_methods_related_to_the_users_method_are_listed_with_their_difference() -> None:
    verdict = a_verdict(
        BASE, a_candidate("stable", 0.60), a_candidate("other-steps", 0.59), a_candidate("turning", 0.58),
        a_candidate("from-data", 0.3),
    )  # fmt: skip
    found = _kin(verdict)
    assert [(kin.method, kin.is_choice) for kin in found] == [("stable", True), ("other-steps", False)]
    assert found[0].settings == {"use_stable": True}
    assert found[1].optimizer == "other"


def test_related_methods_run_with_equal_settings_show_no_setting_difference() -> None:
    assert _kin_knobs(stable=_run("stable", r=32), plain=_run("plain")) == [("plain", {})]
    assert _kin_knobs(stable=_run("stable"), plain=_run("plain", r=64)) == [("plain", {})]
    assert _kin_knobs(stable=_run("stable", built={"r": 32}), plain=_run("plain", built={"r": 32})) == [("plain", {})]


def test_differing_settings_of_related_methods_are_shown() -> None:
    assert _kin_knobs(stable=_run("stable"), plain=_run("plain")) == [("plain", {"r": (64, 32)})]
    assert _kin_knobs(stable=_run("stable", r=32), plain=_run("plain", r=8)) == [("plain", {"r": (32, 8)})]
    built = {"r": 32, "alpha": 64, "dropout": 0.0}
    apart = _kin_knobs(
        stable=_run("stable", r=32, dropout=0.1, built={**built, "dropout": 0.1}), plain=_run("plain", built=built)
    )
    assert apart == [("plain", {"dropout": (0.1, 0.0)})]


def test_related_methods_are_compared_with_the_most_similar_run() -> None:
    records = {"stable": _run("stable"), "narrow": _run("plain", r=8), "wide": _run("plain", r=64, alpha=128)}
    assert _kin_knobs(**records, twin=_run("plain", r=64)) == [("twin", {})]


def test_settings_are_compared_with_the_card_if_nothing_else_ran() -> None:
    assert _kin_knobs(stable=_run("stable")) == [(None, {"r": (64, 32)})]
    assert _kin_knobs(stable=_run("stable", r=32)) == [(None, {})]


def test_a_related_method_at_two_learning_rates_is_listed_once() -> None:
    verdict = a_verdict(
        BASE, a_candidate("stable 1", 0.60, card="stable"), a_candidate("stable 2", 0.59, card="stable")
    )
    assert [kin.method for kin in _kin(verdict)] == ["stable 1"]


def test_no_related_methods_are_suggested_if_the_choice_is_already_used() -> None:
    verdict = a_verdict(BASE, a_candidate("plain", 0.60), a_candidate("stable", 0.59))
    assert _kin(verdict) == ()


def test_single_runs_have_no_verdict_but_one_standard_error_ties() -> None:
    verdict = a_verdict(
        a_candidate("a", 0.549, half=None, single=True, num_seeds=1, num_examples=1319),
        a_candidate("b", 0.532, half=None, single=True, num_seeds=1, num_examples=1319),
        a_candidate("c", 0.507, half=None, single=True, num_seeds=1, num_examples=1319),
    )
    found = _recommend(verdict)
    assert _choice(found) == "a"
    assert found.is_single
    assert found.standard_error == pytest.approx((0.549 * 0.451 / 1319) ** 0.5)
    assert [(tie.method, tie.kind) for tie in found.ties] == [("b", "unknown")]
    assert found.beaten == ()


@pytest.mark.parametrize(("score", "choice"), [(0.40, "base"), (0.50, "base"), (0.51, "a")])
def test_a_single_run_no_better_than_the_base_is_not_chosen(score: float, choice: str) -> None:
    options: dict[str, Any] = {"half": None, "single": True, "num_seeds": 1, "num_examples": 100}
    base = a_candidate("base", 0.5, is_base=True, **options)
    found = _recommend(a_verdict(base, a_candidate("a", score, **options)))
    assert _choice(found) == choice
    text = "\n".join(line for topic in recommendation_topics(found, None, known_metrics()) for line in topic.lines)
    assert ("Nothing here is detectably better than leaving the model alone" in text) == (choice == "base")


def test_single_runs_without_example_counts_have_no_ties() -> None:
    verdict = a_verdict(
        a_candidate("a", 0.70, half=None, single=True, num_examples=0),
        a_candidate("b", 0.69, half=None, single=True, num_examples=0),
    )
    found = _recommend(verdict)
    assert found.standard_error is None
    assert found.ties == ()


def test_failures_of_methods_without_a_score_are_also_reported() -> None:
    verdict = a_verdict(BASE, a_candidate("a", 0.6))
    lost = Candidate(method="b", card="b", failures=failures("oom: no memory"))
    found = _recommend(replace(verdict, candidates=(*verdict.candidates, lost)))
    assert found.failures == {"b": failures("oom: no memory")}


def test_a_cost_is_read_from_the_metric_most_methods_report() -> None:
    ours, theirs = "peak_train_memory_bytes", "upstream_peak_reserved_bytes"
    verdict = a_verdict(
        a_candidate("a", 0.6, metrics={theirs: 2e9, ours: 9e9}), a_candidate("b", 0.59, metrics={theirs: 1e9})
    )
    assert _recommend(verdict).metrics["memory"] == theirs
    assert _choice(_recommend(verdict, prefer=["memory"])) == "b"


def test_a_mergeable_requirement_uses_the_merged_latency() -> None:
    a = a_candidate("turning", 0.6, metrics={"decode_latency_adapter_b1_s": 0.3, "decode_latency_merged_b1_s": 0.1})
    verdict = a_verdict(BASE, a)
    assert _recommend(verdict, limits=Limits(costs={"latency": 0.2}, score=0.2), traits=TRAITS).choice is None
    assert (
        _choice(_recommend(verdict, limits=Limits(costs={"latency": 0.2}, is_merged=True), traits=TRAITS)) == "turning"
    )


def test_diverged_or_useless_methods_are_never_the_cheaper_choice() -> None:
    best = a_candidate("best", 0.60, metrics=_costs(memory=3e9))
    sound = a_candidate("sound", 0.57, metrics=_costs(memory=2e9))
    shaky = a_candidate("shaky", 0.57, failures=failures("diverged: loss is NaN"), metrics=_costs(memory=1e9))
    assert _recommend(a_verdict(BASE, best, sound, shaky)).cheapest["memory"] == "sound"
    told: dict[tuple[str, str], PairVerdict] = {("useless", "base"): "undecided"}
    useless = a_candidate("useless", 0.57, metrics=_costs(memory=1e9))
    assert _recommend(a_verdict(BASE, best, sound, useless, told=told)).cheapest["memory"] == "sound"
