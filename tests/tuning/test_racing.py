"""Promises about a race: rounds, fixed looks, the same eliminations after a stop, and nothing lost without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import ExampleOutcome, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import StudySpec
from peftscope.tuning.progress import StudyProgress, study_progress
from peftscope.tuning.scheduler import UntunedScheduler, scheduler_for

ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="all problems")
SHARES = {"base": 0.05, "lora": 0.60, "rslora": 0.58, "dora": 0.2}
PRICES = {"lora": 1.0, "rslora": 1.05, "dora": 1.3}
STUDY: dict[str, Any] = {
    "name": "race", "model": "builtin:nano-lm", "task": "math", "methods": ["lora", "rslora", "dora"],
    "seeds": [0, 1, 2, 3],
}  # fmt: skip


def _study(**fields: Any) -> StudySpec:
    return StudySpec.model_validate({**STUDY, **fields})


def _record(run: RunSpec) -> RunRecord:
    name = run.method.name
    draw = np.random.default_rng([run.seed, *name.encode()])
    right = np.random.default_rng(0).random(200) < SHARES[name] + 0.01 * draw.standard_normal()
    metrics: dict[str, float | int | None] = {"test_score": float(right.mean())}
    if name in PRICES:
        metrics |= {
            "peak_train_memory_bytes": 1e9 * PRICES[name],
            "checkpoint_bytes": 1e7 * PRICES[name],
            "train_time_s": 60.0 * PRICES[name] * (1.0 + 0.01 * draw.standard_normal()),
        }
    examples = tuple(ExampleOutcome(example_id=str(i), score=float(r)) for i, r in enumerate(right))
    return RunRecord(
        run_id=run.run_id, spec=run, status="ok", metric=ACCURACY, examples=examples, metrics=metrics,
        cost_protocol="one machine",
    )  # fmt: skip


def _work_off(study: StudySpec, order: int = 0) -> dict[str, RunRecord]:
    """All records of a study, runs that are due together ending in some order."""
    scheduler, draw = scheduler_for(study), np.random.default_rng(order)
    records, under_way = {}, list(scheduler.due())
    while under_way:
        job = under_way.pop(int(draw.integers(len(under_way))) if order else 0)
        records[job.run.run_id] = _record(job.run)
        scheduler.tell(records[job.run.run_id])
        under_way += scheduler.due()
    return records


def _seeds(records: dict[str, RunRecord]) -> dict[str, int]:
    names = [record.spec.method.name for record in records.values()]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def _standing(study: StudySpec, records: dict[str, RunRecord]) -> StudyProgress:
    return study_progress(study, records)


def test_a_dominated_method_ends_after_two_seeds() -> None:
    study = _study()
    records = _work_off(study)
    assert _seeds(records) == {"base": 1, "lora": 4, "rslora": 4, "dora": 2}
    (found,) = _standing(study, records).eliminations
    assert (found.method, found.num_seeds) == ("dora", 2)
    assert [worse.metric.limit for worse in found.worse[1:]] == ["memory", "checkpoint", "time"]


def test_without_a_race_every_method_has_every_seed() -> None:
    study = _study(race=False)
    assert _seeds(_work_off(study)) == {"base": 1, "lora": 4, "rslora": 4, "dora": 4}
    assert not _standing(study, _work_off(study)).eliminations


def test_a_later_study_without_a_race_asks_for_the_missing_runs() -> None:
    records = _work_off(_study())
    missing = _standing(_study(race=False), records).pending
    assert [(job.run.method.name, job.run.seed) for job in missing] == [("dora", 2), ("dora", 3)]


def test_more_seeds_leave_who_was_eliminated_out() -> None:
    records = _work_off(_study())
    missing = _standing(_study(seeds=[0, 1, 2, 3, 4, 5]), records).pending
    assert {job.run.method.name for job in missing} <= {"lora", "rslora"}


@pytest.mark.parametrize("order", [1, 2, 3])
def test_which_run_ended_first_decides_nothing(order: int) -> None:
    assert _work_off(_study(), order).keys() == _work_off(_study()).keys()


def test_a_study_stopped_at_any_point_resumes_with_the_same_runs() -> None:
    study = _study()
    whole = _work_off(study)
    for at_most in range(len(whole)):
        records = dict(list(whole.items())[:at_most])
        standing = _standing(study, records)
        assert {job.run.run_id for job in standing.pending} <= whole.keys()
        assert standing.pending
    assert not _standing(study, whole).pending


def test_methods_that_nothing_can_dominate_wait_for_no_round() -> None:
    scheduler = scheduler_for(_study())
    first = scheduler.due()
    assert {job.run.seed for job in first} == {0, 1}
    for job in first:
        if job.run.seed == 0:
            scheduler.tell(_record(job.run))
    assert [(job.run.method.name, job.run.seed) for job in scheduler.due()] == [("lora", 2), ("lora", 3)]


def test_cancelled_runs_are_in_no_count() -> None:
    study = _study()
    scheduler = scheduler_for(study)
    assert isinstance(scheduler, UntunedScheduler)
    assert scheduler.num_runs == 13
    for record in _work_off(study).values():
        scheduler.due()
        scheduler.tell(record)
    assert scheduler.num_runs == 11
    assert not scheduler.upcoming()


def test_seeds_that_grow_go_to_nobody_eliminated() -> None:
    study = _study(seeds={"first": 3, "most": 5})
    found = _seeds(_work_off(study))
    assert found["dora"] == 2
    assert found["lora"] >= 3


@pytest.mark.parametrize("fields", [{"seeds": [0, 1]}, {"methods": ["lora"]}, {"race": False}])
def test_there_is_no_race_with_nothing_to_save(fields: dict[str, Any]) -> None:
    assert not _study(**fields).races
