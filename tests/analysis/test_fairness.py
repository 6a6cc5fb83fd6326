"""A study says what each method was given, and warns where not only the method differs."""

from __future__ import annotations

from typing import Any

import pytest

from peftscope.analysis.fairness import Fairness, fairness
from peftscope.analysis.traits import Traits
from peftscope.analysis.tuning import Trial, Tuning
from peftscope.schema.protocol import Protocol
from peftscope.schema.record import MethodFacts, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec
from peftscope.views.fairness import fairness_lines
from pretend import a_record

TRAITS = {
    t.name: t
    for t in (
        Traits(name="plain", knobs={"r": 32, "alpha": 64}),
        Traits(name="stable", variant_of="plain", settings={"use_stable": True}, knobs={"r": 32, "alpha": 64}),
        Traits(name="own-steps", optimizer="other"),
        Traits(name="norms", targets="norms"),
        Traits(name="turning", knobs={"r": 8}),
    )
}


def _record(method: str, *, seed: int = 0, rate: float = 1e-3, status: str = "ok", **parts: Any) -> RunRecord:
    fields = {k: parts.pop(k) for k in ("knobs", "targets", "optimizer", "peft_config", "label") if k in parts}
    purpose = parts.pop("purpose", "final")
    run = RunSpec(
        model="m", task="math", method=MethodSpec(name=method, **fields), learning_rate=rate, seed=seed, purpose=purpose
    )
    modules = parts.pop("modules", ("a.0.q", "a.0.v", "a.1.q", "a.1.v"))
    facts = MethodFacts(tuner_class="T", adapted_modules=modules, peft_config=parts.pop("built", None))
    quality = Protocol(quality={"data": parts.pop("data", "one")}, cost={})
    metrics = {"num_steps": 10, "train_time_s": 2.0, "num_trainable_params": 5, **parts.pop("metrics", {})}
    return a_record(
        run,
        status,
        method_facts=facts,
        metrics=metrics,
        protocol=quality,
        quality_protocol=quality.quality_hash,
        **parts,
    )


def _found(*records: RunRecord, tunings: tuple[Tuning, ...] = ()) -> Fairness:
    return fairness(records, tunings, None, traits=TRAITS)


def _two_rates(*methods: str, **parts: Any) -> list[RunRecord]:
    """So that nobody is warned of rates that were not searched."""
    return [_record(method, rate=rate, **parts) for method in methods for rate in (1e-3, 1e-4)]


def _kinds(found: Fairness) -> list[str]:
    return [difference.what for difference in found.differences]


def test_methods_that_differ_in_nothing_else_cause_no_warning() -> None:
    found = _found(*_two_rates("plain", "stable", "turning"))
    assert found.differences == ()
    assert not any("WARNING" in line for line in fairness_lines(found))


def test_the_base_is_excluded_from_the_budget_shares() -> None:
    base = a_record(RunSpec(model="m", task="math", method=MethodSpec(name="plain", label="base")))
    assert [share.method for share in _found(base, *_two_rates("plain")).shares] == ["plain"]


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("modules", _two_rates("turning", modules=("a.0.mlp",))),
        ("modules", _two_rates("norms", targets=("mlp",), modules=("a.0.mlp",))),
        ("optimizer", _two_rates("turning", optimizer={"weight_decay": 0.1})),
        ("optimizer", _two_rates("own-steps")),
        ("config", _two_rates("turning", peft_config={"r": 8})),
        ("knobs", _two_rates("plain", label="wide", knobs={"r": 64})),
        ("knobs", _two_rates("stable", built={"r": 64, "alpha": 64})),
        ("seeds", [*_two_rates("turning"), *_two_rates("turning", seed=1)]),
        ("rates", [_record("turning")]),
        ("steps", _two_rates("turning", metrics={"num_steps": 5})),
        ("protocol", _two_rates("turning", data="other")),
        ("initialisation", _two_rates("turning", metrics={"init_time_s": 20.0})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_difference_besides_the_method_causes_a_warning(what: str, other: list[RunRecord]) -> None:
    found = _found(*_two_rates("plain"), *_two_rates("plain", label="again"), *other)
    assert _kinds(found) == [what]
    (difference,) = found.differences
    assert difference.methods == (other[0].spec.method.title,)
    lines = fairness_lines(found)
    assert any(line.startswith("WARNING") for line in lines)
    assert any(difference.claim in line for line in lines)


@pytest.mark.parametrize("times", [{"init_time_s": 4.0}, {"init_time_s": 20.0, "train_time_s": 500.0}])
def test_a_short_initialisation_causes_no_warning(times: dict[str, float]) -> None:
    assert _kinds(_found(*_two_rates("plain"), *_two_rates("turning", metrics=times))) == []


def test_a_method_defined_by_its_modules_may_adapt_different_ones() -> None:
    assert _kinds(_found(*_two_rates("plain"), *_two_rates("norms", modules=("a.0.ln",)))) == []


def test_ranks_of_different_methods_are_not_compared() -> None:
    assert _kinds(_found(*_two_rates("plain", built={"r": 32}), *_two_rates("turning", built={"r": 4}))) == []


def test_untuned_learning_rates_cause_a_warning() -> None:
    found = _found(_record("plain"), _record("turning", rate=1e-4))
    assert _kinds(found) == ["rates"]
    assert "no learning rate was searched" in found.differences[0].text


def _tuned(method: str, *, trials: int = 2, edge: Any = None) -> tuple[list[RunRecord], Tuning]:
    rates = [10.0**-n for n in range(2, 2 + trials)]
    runs = [_record(method, rate=rate, seed=9, purpose="trial") for rate in rates[:-1]]
    runs.append(_record(method, rate=rates[-1], seed=9, purpose="trial", status="eliminated", metrics={"num_steps": 4}))
    tried = [
        Trial(number=n, learning_rate=rate, origin="grid", run_id=str(n), status="ok") for n, rate in enumerate(rates)
    ]
    tuning = Tuning(
        method=method,
        num_offered=2,
        trials=tuple(tried),
        chosen=tried[0],
        learning_rate=rates[0],
        edge=edge,
    )
    return [*runs, _record(method, rate=rates[0])], tuning


def test_tuning_steps_and_edge_rates_are_reported() -> None:
    (plain, first), (turning, second) = _tuned("plain", edge="highest"), _tuned("turning")
    found = _found(*plain, *turning, tunings=(first, second))
    share = found.shares[0]
    assert (share.num_offered, share.num_trials, share.num_eliminated) == (2, 2, 1)
    assert (share.tuning_steps, share.final_steps, share.final_time_s) == (14, 10, 2.0)
    assert share.learning_rates == (0.001, 0.01)
    assert (share.chosen_rate, share.edge) == (0.01, "highest")
    assert _kinds(found) == []
    text = "\n".join(fairness_lines(found))
    assert "2 trials offered to each of 2 methods; 4 made, 2 of them ended early; 28 steps of tuning" in text
    assert "plain (highest, 0.01)" in text


def test_unequal_trial_counts_warn_except_for_refused_methods() -> None:
    (plain, first), (turning, second) = _tuned("plain", trials=3), _tuned("turning")
    assert _kinds(_found(*plain, *turning, tunings=(first, second))) == ["rates"]
    refused = [
        _record("norms", rate=1e-3, seed=9, purpose="trial", status="refused"),
        _record("norms", status="refused"),
    ]
    (plain, first) = _tuned("plain")
    found = _found(*plain, *turning, *refused, tunings=(first, second))
    assert "rates" not in _kinds(found)


def test_failed_trials_and_final_runs_are_counted() -> None:
    lost = _record("turning", seed=1, status="oom")
    trial = _record("plain", rate=1.0, purpose="trial", status="diverged")
    found = _found(*_two_rates("plain", "turning"), lost, trial)
    assert {s.method: (len(s.failed_trials), len(s.failed_finals)) for s in found.shares} == {
        "plain": (1, 0), "turning": (0, 1)
    }  # fmt: skip
    assert "Failed: 1 trial and 1 final run." in fairness_lines(found)


def test_modules_are_counted_by_kind() -> None:
    (share,) = _found(*_two_rates("plain")).shares
    assert share.modules == {"q": 2, "v": 2}
    assert share.num_trainable_params == 5


def test_imported_results_are_labelled_with_configurations_tried_per_method() -> None:
    tried = [_record("plain", label="plain/one", peft_config={"r": 1}), _record("plain", label="plain/two")]
    found = _found(*[r.model_copy(update={"origin": "foreign"}) for r in (*tried, _record("turning", label="t/one"))])
    assert found.foreign
    (difference,) = [d for d in found.differences if d.what == "rates"]
    assert "plain 2 times" in difference.text
    assert "what was tried beside them is not known" in fairness_lines(found)[0]
