"""Figures of different conditions are not ranked together, unless asked; and what differs is said."""

from __future__ import annotations

from typing import Any

from peftscope.analysis.protocols import protocol_differences
from peftscope.analysis.summary import summarise
from peftscope.schema.metric import MetricSpec
from peftscope.schema.protocol import Protocol
from peftscope.schema.record import ExampleOutcome, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec, ModelSpec, TaskSpec
from peftscope.store.frame import examples_of, frame_of
from peftscope.study.metrics import known_metrics
from peftscope.views.table import quality_and_cost

ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="test")


def _record(
    method: str, score: float, *, seed: int = 0, steps: int = 10, torch: str = "2.13", time_s: float = 1.0, **more: Any
) -> RunRecord:
    protocol = Protocol(quality={"train": {"max_steps": steps}}, cost={"packages": {"torch": torch}})
    run = RunSpec(
        model=ModelSpec(source="m"),
        task=TaskSpec(name="t", options={"steps": steps, "torch": torch}),
        method=MethodSpec(name=method),
        learning_rate=None if method == "base" else 1e-3,
        seed=seed,
    )
    known = {
        "status": "ok",
        "protocol": protocol,
        "quality_protocol": protocol.quality_hash,
        "cost_protocol": protocol.cost_hash,
        "metrics": {"train_time_s": time_s, "test_score": score},
        "examples": tuple(ExampleOutcome(example_id=str(i), score=float(i < 10 * score)) for i in range(10)),
    }
    return RunRecord(run_id=run.run_id, spec=run, **{**known, **more})


def _summary(records: list[RunRecord], **options: Any) -> list[dict[str, Any]]:
    return summarise(frame_of(records), examples_of(records), base="base", metrics=known_metrics(), **options)


def test_quality_is_compared_only_within_equal_conditions() -> None:
    records = [_record("base", 0.1), _record("lora", 0.5), _record("lora", 0.9, steps=20)]
    rows = _summary(records)
    assert len({row["quality_protocol"] for row in rows}) == 2
    assert {row["score"]: row["gain"] is None for row in rows if row["method"] == "lora"} == {0.5: False, 0.9: True}
    qualities = [
        table for table in quality_and_cost(rows, ACCURACY, known_metrics()) if table.title.startswith("quality")
    ]
    assert sorted(len(table.cells) for table in qualities) == [1, 2]


def test_quality_averages_over_cost_conditions_but_costs_do_not() -> None:
    records = [
        _record("lora", 0.4, time_s=10.0),
        _record("lora", 0.6, seed=1, time_s=30.0, torch="2.14"),
        _record("lora", 0.5, seed=2, time_s=20.0),
    ]
    (row,) = _summary(records)
    assert row["num_seeds"] == 3
    assert sorted(cost["train_time_s"] for cost in row["costs"]) == [15.0, 30.0]
    costs = [table for table in quality_and_cost([row], ACCURACY, known_metrics()) if table.title.startswith("cost")]
    assert len(costs) == 2


def test_the_across_option_combines_all_conditions() -> None:
    records = [_record("base", 0.1), _record("lora", 0.5), _record("ia3", 0.9, steps=20, torch="2.14")]
    rows = _summary(records, across=True)
    assert [row["method"] for row in rows] == ["base", "ia3", "lora"]
    assert all(len(row["costs"]) == 1 for row in rows)
    assert len(quality_and_cost(rows, ACCURACY, known_metrics())) == 2


def test_differing_conditions_are_named_with_their_setting() -> None:
    records = [_record("base", 0.1), _record("lora", 0.5), _record("ia3", 0.9, steps=20, torch="2.14")]
    lines = protocol_differences(records)
    assert len(lines) == 2
    assert lines[0].startswith("quality: 1 run")
    assert "train.max_steps: 10 → 20" in lines[0]
    assert '"2.13" → "2.14"' in lines[1]
    assert protocol_differences(records[:2]) == []


def test_a_run_that_failed_early_is_shown_with_the_others() -> None:
    failed = _record("oft", 0.0, protocol=None, quality_protocol=None, cost_protocol=None, status="oom", examples=())
    rows = _summary([_record("base", 0.1), _record("lora", 0.5), failed])
    assert len({row["quality_protocol"] for row in rows}) == 1
    assert [row["method"] for row in rows] == ["base", "lora", "oft"]
    assert rows[2]["failures"]


def test_records_without_scores_per_example_do_not_break_the_summary() -> None:
    foreign = _record("lora", 0.5, examples=(), origin="foreign", single=True)
    (row,) = _summary([foreign])
    assert row["score"] is None
