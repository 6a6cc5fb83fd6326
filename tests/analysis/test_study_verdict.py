"""From runs to a verdict: nothing disappears, nothing is ranked that cannot be."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from judged import failures
from peftscope.analysis.front import front_of
from peftscope.analysis.study_verdict import judge
from peftscope.analysis.summary import summarise
from peftscope.analysis.tuning import Edge, Trial, Tuning
from peftscope.analysis.verdict import Verdict
from peftscope.schema.metric import MetricSpec
from peftscope.study.metrics import known_metrics
from peftscope.views.table import failure_lines

ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="")
LOSS = MetricSpec(name="held_out_loss", unit="nats/token", direction="lower", window="")


def study(
    rates: dict[str, float], *, seeds: int = 3, examples: int = 200, source: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Frames of a study; ``base`` has one run."""
    generator = np.random.default_rng(source)
    easy = generator.random(examples)
    runs, scores = [], []
    for name, rate in rates.items():
        for seed in range(1 if name == "base" else seeds):
            run_id = f"{name}-{seed}"
            right = np.where(generator.random(examples) < 0.7, easy, generator.random(examples)) < rate
            scores.append(_scores(run_id, right.astype(float)))
            runs.append(_run(run_id, name, seed) | {"memory_bytes": 100.0 + seed, "test_score": right.mean()})
    return pd.DataFrame(runs), pd.concat(scores)


def _run(run_id: str, name: str, seed: int) -> dict[str, object]:
    return {
        "run_id": run_id, "method": name, "card": name, "learning_rate": None if name == "base" else 1e-4,
        "seed": seed, "purpose": "final", "status": "ok", "reason": None, "single": False, "quality_protocol": "q",
    }  # fmt: skip


def _scores(run_id: str, values: np.ndarray) -> pd.DataFrame:
    ids = [str(i) for i in range(len(values))]
    return pd.DataFrame({"run_id": run_id, "example_id": ids, "draw": 0, "score": values})


def _verdict(runs: pd.DataFrame, examples: pd.DataFrame, **how: object) -> Verdict:
    return judge(runs, examples, ACCURACY, base="base", **how)  # type: ignore[arg-type]


def test_the_base_is_listed_first_then_candidates_by_score() -> None:
    verdict = _verdict(*study({"low": 0.3, "base": 0.1, "high": 0.8}))
    assert [c.method for c in verdict.candidates] == ["base", "high", "low"]
    assert verdict.tiers == (("high",), ("low",), ("base",))
    assert [c.tier for c in verdict.candidates] == [3, 1, 2]
    assert len(verdict.pairs) == 3
    assert verdict.margin == 0.02


def _tuning(method: str, edge: Edge | None) -> Tuning:
    trial = Trial(number=0, learning_rate=1e-4, origin="grid", run_id="x", status="ok")
    bracket = (None if edge == "lowest" else 5.6e-5, None if edge == "highest" else 1.8e-4)
    return Tuning(
        method=method, num_offered=20, trials=(trial,), chosen=trial, learning_rate=1e-4, edge=edge, bracket=bracket
    )


def test_a_method_with_an_unbracketed_rate_is_never_called_worse() -> None:
    frames = study({"low": 0.3, "middle": 0.55, "high": 0.8})
    closed = _verdict(*frames, tunings=[_tuning(name, None) for name in ("low", "middle", "high")])
    assert (closed.tiers, closed.understated) == (_verdict(*frames).tiers, ())
    assert closed.candidate("low").bracket == (5.6e-5, 1.8e-4)
    verdict = _verdict(*frames, tunings=[_tuning("middle", "highest"), _tuning("low", None), _tuning("high", None)])
    assert verdict.understated == ("middle",)
    pairs = {(p.first, p.second): p.verdict for p in verdict.pairs}
    assert pairs == {("high", "middle"): "undecided", ("high", "low"): "better", ("middle", "low"): "better"}
    assert verdict.pair("high", "middle") is not None
    assert verdict.tiers == (("high",), ("low",))
    assert verdict.candidate("middle").tier is None
    (note,) = (note for note in verdict.notes if "middle" in note)
    assert "a higher one may be better" in note
    assert "never called worse than another, while its wins stand" in note


def test_the_front_does_not_report_an_undertuned_method_as_dominated() -> None:
    runs, examples = study({"low": 0.3, "high": 0.8})
    metrics = [ACCURACY, MetricSpec(name="memory_bytes", unit="bytes", direction="lower", window="")]
    verdict = _verdict(runs, examples, tunings=[_tuning("low", "highest")])
    assert any("not shown to be beaten" in note and "low" in note for note in front_of(verdict, metrics).notes)
    assert not any("beaten" in note for note in front_of(_verdict(runs, examples), metrics).notes)


def test_the_gain_equals_the_pair_difference_to_the_base() -> None:
    verdict = _verdict(*study({"base": 0.1, "lora": 0.5}))
    pair = verdict.pair("lora", "base")
    assert pair is not None
    assert verdict.candidate("lora").gain == pair.difference
    assert verdict.candidate("base").gain is None


def test_failures_are_shown_and_counted() -> None:
    runs, examples = study({"base": 0.1, "lora": 0.5, "gone": 0.5})
    runs.loc[runs["run_id"] == "lora-1", ["status", "reason"]] = ["diverged", "loss is NaN"]
    runs.loc[runs["method"] == "gone", ["status", "reason"]] = ["oom", "no memory"]
    verdict = _verdict(runs, examples)
    assert verdict.candidate("lora").num_seeds == 2
    assert verdict.candidate("lora").failures == failures("diverged: loss is NaN")
    assert verdict.candidate("gone").failures == failures(*["oom: no memory"] * 3)
    assert verdict.candidate("gone").score is None
    assert verdict.candidates[-1].method == "gone"
    told = "lora: 1 of 3 trainings diverged, counted with the untouched base's answers"
    assert any(told in note for note in verdict.notes)


def test_tuning_trials_are_excluded_from_the_verdict() -> None:
    runs, examples = study({"base": 0.1, "lora": 0.5})
    runs.loc[runs["run_id"] == "lora-0", "purpose"] = "trial"
    assert _verdict(runs, examples).candidate("lora").num_seeds == 2


def test_several_learning_rates_of_a_method_are_separate_candidates() -> None:
    runs, examples = study({"base": 0.1, "lora": 0.5, "oft": 0.4})
    runs.loc[runs["run_id"] == "lora-2", "learning_rate"] = 3e-3
    assert {c.method for c in _verdict(runs, examples).candidates} == {"base", "lora lr 0.0001", "lora lr 0.003", "oft"}


def test_runs_under_different_conditions_are_never_ranked_together() -> None:
    runs, examples = study({"base": 0.1, "lora": 0.5})
    runs.loc[0, "quality_protocol"] = "other"
    with pytest.raises(AssertionError, match="2 quality protocols"):
        _verdict(runs, examples)


def test_missing_answers_count_as_wrong_and_mostly_missing_runs_are_excluded() -> None:
    runs, examples = study({"base": 0.1, "lora": 0.5, "oft": 0.4})
    number = examples["example_id"].astype(int)
    few = (examples["run_id"] == "lora-0") & (number < 5)
    many = (examples["run_id"] == "oft-1") & (number < 150)
    verdict = _verdict(runs, examples[~few & ~many])
    assert verdict.candidate("base").num_examples == 200
    whole = _verdict(runs, examples).candidate("lora").score
    charged = verdict.candidate("lora").score
    assert whole is not None
    assert charged is not None
    assert whole.value - 5 / 600 <= charged.value <= whole.value
    assert verdict.candidate("oft").num_seeds == 2
    assert any("oft-1 is left out" in note for note in verdict.notes)
    assert any("lora: 0.8% of its answers are missing, each counts as 0: had all been right" in note
               for note in verdict.notes)  # fmt: skip


def test_a_method_gains_nothing_by_not_answering_hard_examples() -> None:
    runs, examples = study({"base": 0.1, "lora": 0.5, "oft": 0.5})
    hard = (examples["score"] == 0.0) & examples["run_id"].str.startswith("lora")
    dropped = examples[~(hard & (examples["example_id"].astype(int) % 6 == 0))]
    with_all, without = (_verdict(runs, e).candidate("lora").score for e in (examples, dropped))
    assert with_all == without


def test_grouped_examples_widen_intervals_and_are_reported() -> None:
    runs, examples = study({"base": 0.1, "lora": 0.5, "oft": 0.4})
    copies = pd.concat([examples.assign(example_id=examples["example_id"] + f"-{n}") for n in range(3)])
    copies["group"] = copies["example_id"].str.split("-").str[0]
    plain, once = _verdict(runs, copies.drop(columns="group")), _verdict(runs, examples)
    together = _verdict(runs, copies)
    assert together.candidate("lora").num_examples == 600
    for name in ("base", "lora"):
        widths = [v.candidate(name).score.high - v.candidate(name).score.low for v in (plain, once, together)]
        assert widths[2] == pytest.approx(widths[1], rel=0.02)
        assert widths[0] < widths[1]
    assert any("600 test examples in 200 groups" in note for note in together.notes)


def test_one_seed_gives_an_interval_over_examples_and_says_so() -> None:
    verdict = _verdict(*study({"base": 0.1, "lora": 0.5}, seeds=1))
    assert verdict.candidate("lora").score.interval is not None  # type: ignore[union-attr]
    assert any("one seed each" in note for note in verdict.notes)


def test_every_verdict_states_what_its_intervals_are_conditional_on() -> None:
    assert any("frozen configuration" in note for note in _verdict(*study({"base": 0.1, "lora": 0.5})).notes)


def test_a_run_without_per_example_scores_is_single_without_interval() -> None:
    runs, examples = study({"lora": 0.5, "oft": 0.4}, seeds=1)
    verdict = _verdict(runs.assign(num_test_examples=1319), examples.iloc[:0])
    lora = verdict.candidate("lora")
    assert lora.single
    assert lora.score is not None
    assert lora.score.interval is None
    assert lora.num_examples == 1319
    assert verdict.pairs == ()
    assert lora.tier is None


def test_for_losses_a_decrease_is_a_gain_without_default_margin() -> None:
    runs, examples = study({"base": 0.9, "lora": 0.3})
    verdict = judge(runs, examples.assign(score=examples["score"] + 1.5), LOSS, base="base")
    assert verdict.margin is None
    gain = verdict.candidate("lora").gain
    assert gain is not None
    assert gain.value > 0.0
    assert verdict.tiers[0] == ("lora",)


def test_figures_contain_mean_range_and_deviation_over_seeds() -> None:
    figure = _verdict(*study({"base": 0.1, "lora": 0.5})).candidate("lora").metrics["memory_bytes"]
    assert (figure.mean, figure.low, figure.high, figure.num_runs, figure.deviation) == (101.0, 100.0, 102.0, 3, 1.0)


def test_the_order_of_rows_changes_nothing() -> None:
    runs, examples = study({"base": 0.1, "lora": 0.5, "oft": 0.45})
    shuffled = _verdict(runs, examples.sample(frac=1.0, random_state=1))
    assert shuffled == _verdict(runs, examples)


def test_a_study_of_fifty_methods_is_judged_in_seconds() -> None:
    frames = study({"base": 0.1} | {f"m{i}": 0.4 + i / 250 for i in range(49)}, seeds=5, examples=1319)
    start = time.process_time()  # of this process: others may run beside it, on slower machines than ours
    verdict = _verdict(*frames)
    assert len(verdict.pairs) == 50 * 49 // 2
    assert time.process_time() - start < 10.0


def test_collapsed_trainings_are_reported_with_the_table() -> None:
    runs, examples = study({"base": 0.1, "lora": 0.7, "oft": 0.6})
    examples.loc[examples["run_id"] == "lora-1", "score"] = 0.0
    rows = summarise(runs, examples, base="base", metrics=known_metrics())
    assert {row["method"]: row["num_collapsed"] for row in rows}["lora"] == 1
    assert any("lora: 1 of 3 trainings collapsed" in line for line in failure_lines(rows))
