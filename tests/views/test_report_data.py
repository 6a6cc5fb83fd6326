"""What a report shows is decided before anything is drawn."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import pytest

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.fairness import Fairness, MethodBudget
from peftscope.analysis.verdict import Candidate
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import CurvePoint
from peftscope.views.report.answers import answer_data
from peftscope.views.report.content import ReportContent
from peftscope.views.report.curves import LONGEST, training_data
from peftscope.views.report.data import report_data
from peftscope.views.report.fairness import fairness_topics
from peftscope.views.report.identity import marks_of
from peftscope.views.report.quantities import axis_of, reading
from peftscope.views.report.tables import pair_sentence
from views.report_study import ACCURACY, METRICS, a_study, many_singles


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return a_study()


def test_every_two_metrics_have_a_front_score_against_memory_first(
    content: ReportContent,
) -> None:
    front = report_data(content)["front"]
    assert front["default"] == ["peak_train_memory_bytes", "accuracy"]
    assert set(front["axes"]) == {metric.name for metric in METRICS}
    asked = {frozenset(pair) for pair in itertools.combinations(front["axes"], 2)}
    assert {frozenset(key.split("|")) for key in front["fronts"]} == asked


def test_a_point_shows_a_score_interval_and_a_cost_range(content: ReportContent) -> None:
    points = report_data(content)["front"]["points"]
    score, memory = points["accuracy"]["lora"], points["peak_train_memory_bytes"]["lora"]
    assert (score["value"], score["low"], score["high"]) == (49.0, 44.5, 53.5)
    assert score["spread"] == "95 % interval"
    assert memory["low"] < memory["value"] == 1.07 < memory["high"]
    assert memory["spread"] == "smallest and largest of 3 runs"
    assert memory["text"] == "1.07 GB"


def test_single_runs_have_no_probability_and_are_labelled_as_single_runs(content: ReportContent) -> None:
    data = report_data(content)
    assert [m for m, known in data["methods"].items() if known["single"]] == ["lily"]
    assert all("lily" not in front["membership"] for front in data["front"]["fronts"].values())
    assert "single run" in str(data["tiers"]["table"])
    assert all(known["single"] for known in report_data(many_singles())["methods"].values())


def test_a_method_without_a_figure_does_not_give_single_runs_intervals() -> None:
    content = many_singles()
    method = content.records[0].spec.method.model_copy(update={"label": "came to nothing"})
    spec = content.records[0].spec.model_copy(update={"method": method})
    lost = content.records[0].model_copy(update={"run_id": "lost", "status": "failed", "spec": spec})
    methods = report_data(replace(content, records=(*content.records, lost)))["methods"]
    assert "came to nothing" in methods
    assert all(known["single"] for known in methods.values())


def test_zero_is_shown_as_zero_on_a_logarithmic_axis(content: ReportContent) -> None:
    front = report_data(content)["front"]
    axis, base = front["axes"]["num_trainable_params"], front["points"]["num_trainable_params"]["base"]
    assert axis["scale"] == "log"
    assert 0 < base["value"] == pytest.approx(axis["floor"])
    assert base["value"] < min(p["value"] for m, p in front["points"]["num_trainable_params"].items() if m != "base")
    assert base["text"] == "0"


@pytest.mark.parametrize(
    ("unit", "values", "title"),
    [
        ("s", [90.0, 500.0], "x (s)"),
        ("s", [90.0, 700.0], "x (min)"),
        ("share", [0.1], "x (%)"),
        ("s", [0.01], "x (ms)"),
    ],
)
def test_an_axis_uses_a_unit_suited_to_its_values(unit: str, values: list[float], title: str) -> None:
    assert axis_of(MetricSpec(name="x", unit=unit, direction="lower", window=""), values).title == title


def test_a_candidate_without_a_finite_score_is_not_drawn() -> None:
    lost = Candidate(method="x", card="x", score=Estimate(math.nan, None, None))
    assert reading(lost, ACCURACY, score=ACCURACY) is None


def test_all_56_methods_get_distinct_marks(content: ReportContent) -> None:
    names = [f"t{i}" for i in range(56)]
    assert len({(mark.color, mark.symbol) for mark in marks_of([], names).values()}) == 56
    assert len({mark.color for mark in marks_of([], names[:7]).values()}) == 7
    methods = report_data(content)["methods"]
    assert "vera" in methods  # tuned, and no run of it came to a score


def test_the_pair_matrix_shows_both_sides_and_missing_verdicts(content: ReportContent) -> None:
    matrix = report_data(content)["pairs"]["matrix"]
    cells = {(r["method"], n): c for r in matrix["rows"] for n, c in zip(matrix["names"], r["cells"])}
    assert cells["ln-tuning", "lora"]["verdict"] == "better"
    assert cells["lora", "ln-tuning"]["verdict"] == "worse"
    assert cells["lora", "ln-tuning"]["text"].startswith("lora is worse than ln-tuning: -6.0 points [-11.0, -1.0]")
    assert cells["lora", "dora"]["sign"] == "="
    assert cells["lora", "lora"]["text"] == ""
    assert "vera" not in matrix["names"]
    without = replace(content, verdict=replace(content.verdict, pairs=content.verdict.pairs[1:]))
    first = content.verdict.pairs[0]
    rows = {r["method"]: r for r in report_data(without)["pairs"]["matrix"]["rows"]}
    place = list(rows).index(first.second)
    assert rows[first.first]["cells"][place]["text"] == "not compared"


def test_an_undecided_pair_reports_how_many_seeds_would_decide_it(content: ReportContent) -> None:
    pair = content.verdict.pair("lily", "ln-tuning")
    assert pair is not None
    assert "lily against ln-tuning is undecided" in pair_sentence(pair, content.verdict)
    assert "about 4 more seeds" in pair_sentence(pair, content.verdict)


def test_a_stopped_trial_shows_its_step_and_its_loss_then(content: ReportContent) -> None:
    entries = {entry["method"]: entry for entry in report_data(content)["learning_rates"]}
    stopped = next(t for t in entries["lora"]["trials"] if t["state"] == "stopped")
    assert (stopped["stopped_at"], stopped["score"], stopped["chosen"]) == (8, None, False)
    assert stopped["loss"] == pytest.approx(1.5 - 0.466, abs=0.01)
    assert [t["rate"] for t in entries["lora"]["trials"]] == [1e-4, 3e-4, 6e-4, 1e-3]
    assert [t["rate"] for t in entries["lora"]["trials"] if t["chosen"]] == [3e-4]
    assert "no worse neighbour below" in entries["oft"]["edge"]
    assert entries["lora"]["edge"] is None
    assert {t["state"] for t in entries["vera"]["trials"]} == {"oom"}


def test_the_best_score_so_far_never_worsens_and_covers_every_trial(content: ReportContent) -> None:
    best = {entry["method"]: entry["values"] for entry in report_data(content)["best"]}
    assert "vera" not in best  # no trial came to a score
    assert best["lora"][0] is None  # stopped early
    assert next(e for e in report_data(content)["best"] if e["method"] == "oft")["expected"][0] < best["oft"][0]
    assert best["oft"] == [best["oft"][0]] * 4
    lower = replace(content.verdict, metric=content.verdict.metric.model_copy(update={"direction": "lower"}))
    falling = {e["method"]: e["values"] for e in report_data(replace(content, verdict=lower))["best"]}["lora"]
    assert falling[1] > falling[2] == falling[3]


def test_a_long_curve_is_thinned_without_losing_its_endpoints(content: ReportContent) -> None:
    run = next(r for r in content.records if r.curve)
    points = [CurvePoint(step=s, learning_rate=0.1, train_loss=float(s), train_time_s=0.0) for s in range(1000)]
    (course,) = training_data([run.model_copy(update={"curve": tuple(points)})], [], {})
    assert len(course["loss"]["steps"]) <= LONGEST + 1
    assert (course["loss"]["steps"][0], course["loss"]["steps"][-1]) == (0, 999)
    assert course["thinned"]


def test_failures_are_grouped_by_reason_and_exclude_stopped_trials(content: ReportContent) -> None:
    stopped = content.records[1].model_copy(update={"status": "eliminated", "reason": "step 8"})
    found = report_data(replace(content, records=[*content.records, stopped]))["failures"]
    vera = next(f for f in found["runs"] if f["title"].startswith("vera"))
    assert vera["title"] == "vera lr 0.0003 seeds 1, 2, 3"
    assert len(vera["runs"]) == 3
    assert "MemoryError" in vera["traceback"]
    assert found["number"] == 4
    assert found["stopped"].startswith("1 trial was stopped")


def test_conditions_show_both_hashes_with_their_contents(content: ReportContent) -> None:
    conditions = report_data(content)["conditions"]
    assert [p["kind"] for p in conditions["protocols"]] == ["quality", "cost"]
    assert ("task.version", "3") in conditions["protocols"][0]["lines"]
    assert ("packages.peft", "0.21.2") in conditions["protocols"][1]["lines"]
    assert conditions["environments"][0]["num_runs"] == len(content.records)


def test_the_fairness_table_of_each_method_omits_empty_columns() -> None:
    given = Fairness(
        shares=(
            MethodBudget(method="a", card="a", num_offered=4, num_trials=4, num_eliminated=2, chosen_rate=1e-3,
                  learning_rates=(1e-4, 1e-3), edge="highest", seeds=(1, 2), final_steps=64, modules={"q_proj": 2}),
            MethodBudget(method="b", card="b", num_offered=4, num_trials=3,
                  failed_trials=("oom: x", "oom: y", "error: z")),
        ),
        differences=(),
        num_protocols=1,
    )  # fmt: skip
    tuning, finals, adapted = fairness_topics(given)
    assert tuning.lines[0] == "4 trials offered to each method, and every one billed."
    assert "a (highest)" in tuning.lines[1]
    assert list(tuning.rows[0]) == [
        "method",
        "trials",
        "stopped early",
        "failed",
        "learning rates",
        "chosen",
        "its place",
    ]
    assert list(tuning.rows[2])[:4] == ["b", "3 of 4", "–", "2 oom, 1 error"]
    assert list(finals.rows[1]) == ["a", "1, 2", "64"]
    assert list(adapted.rows[1]) == ["a", "q_proj (2)"]
    unequal = replace(given, shares=(given.shares[0], replace(given.shares[1], num_offered=2)))
    assert fairness_topics(unequal)[0].lines[0] == "Trials offered: from 2 to 4."


def test_an_empty_study_still_gives_valid_report_data(content: ReportContent) -> None:
    verdict = replace(content.verdict, candidates=(), pairs=(), tiers=())
    data = report_data(replace(content, verdict=verdict, records=(), tunings=(), fronts=()))
    assert data["front"]["default"] is None
    assert data["pairs"]["matrix"] is None
    assert json.dumps(data, allow_nan=False)


def test_runs_that_were_not_judged_give_no_answers(content: ReportContent) -> None:
    """A run under other conditions has the bare title of its method, too."""
    names = {r.run_id: r.spec.method.title for r in content.records if r.spec.purpose == "final"}
    (run,) = [r for r in content.records if r.spec.method.title == "lora" and r.spec.seed == 1]
    right = tuple(replace(e, output="7", prompt="3 + 4", target="7") for e in run.examples)
    judged = [r.model_copy(update={"examples": right}) if r is run else r for r in content.records]
    other_spec = run.spec.model_copy(update={"seed": 0})
    other = run.model_copy(
        update={
            "run_id": "other",
            "spec": other_spec,
            "examples": tuple(replace(e, score=1 - e.score, output="wrong") for e in right),
        }
    )
    alone = report_data(replace(content, records=judged, names=names))
    both = report_data(replace(content, records=[*judged, other], names=names))
    assert alone["outputs"]
    for part in ("outputs", "disagreements", "training", "settings", "code"):
        assert both[part] == alone[part]


def test_an_error_rate_of_one_is_a_wrong_answer() -> None:
    errors = ACCURACY.model_copy(update={"name": "error", "direction": "lower"})
    run = next(r for r in a_study().records if r.examples)
    wrong = run.model_copy(update={"examples": (replace(run.examples[0], score=1.0, output="x"),)})
    (example,) = answer_data([wrong], {}, [run.spec.method.title], errors)
    assert [answer["right"] for answer in example["answers"].values()] == [False]
