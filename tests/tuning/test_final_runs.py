"""Promises about final runs: all at once, or more seeds where they decide, the same ones after a kill."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import ExampleOutcome, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import StudySpec
from peftscope.tuning.job import Job
from peftscope.tuning.progress import replay, study_progress
from peftscope.tuning.scheduler import UntunedScheduler, scheduler_for

STUDY = {
    "name": "grow",
    "model": "builtin:nano-lm",
    "task": "math",
    "methods": ["lora", "ia3", "vera", "oft"],
    "seeds": {"first": 3, "most": 6},
}
ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="all problems")
ACCURACIES = {"base": 0.05, "lora": 0.60, "ia3": 0.56, "vera": 0.2, "oft": 0.3}


def _record(run: RunSpec) -> RunRecord:
    draw = np.random.default_rng([run.seed, *run.method.name.encode()])
    hard = np.random.default_rng(0).random(500)
    right = hard < ACCURACIES[run.method.name] + (0.0 if run.learning_rate is None else 0.02 * draw.standard_normal())
    examples = tuple(ExampleOutcome(example_id=str(i), score=float(r)) for i, r in enumerate(right))
    return RunRecord(
        run_id=run.run_id, spec=run, status="ok", metric=ACCURACY, examples=examples,
        metrics={"test_score": float(right.mean())},
    )  # fmt: skip


def _work_off(study: StudySpec, at_most: int = 1000) -> dict[str, RunRecord]:
    """Records of a study, stopped after so many."""
    scheduler, records = scheduler_for(study), {}
    while due := scheduler.due():
        for start in due:
            if len(records) == at_most:
                return records
            records[start.run.run_id] = _record(start.run)
            scheduler.tell(records[start.run.run_id])
    return records


def _seeds(records: Mapping[str, RunRecord]) -> dict[str, int]:
    names = [record.spec.method.name for record in records.values()]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def test_every_method_runs_every_listed_seed() -> None:
    study = StudySpec.model_validate({**STUDY, "seeds": [4, 5]})
    assert _seeds(_work_off(study)) == {"base": 1, "lora": 2, "ia3": 2, "vera": 2, "oft": 2}


def test_extra_seeds_go_to_methods_not_yet_significantly_different() -> None:
    found = _seeds(_work_off(StudySpec.model_validate(STUDY)))
    assert found["vera"] == found["oft"] == 3
    assert found["lora"] == found["ia3"] > 3


@pytest.mark.slow
def test_a_study_killed_at_any_point_resumes_with_the_same_seeds() -> None:
    study = StudySpec.model_validate(STUDY)
    whole = _work_off(study)
    for at_most in range(len(whole)):
        records = _work_off(study, at_most)
        scheduler = scheduler_for(study)
        assert isinstance(scheduler, UntunedScheduler)

        def done(start: Job, records: dict[str, RunRecord] = records) -> RunRecord | None:
            return records.get(start.run.run_id)

        while (found := replay(scheduler, done))[1]:
            for start in found[1]:
                records[start.run.run_id] = _record(start.run)
            scheduler = scheduler_for(study)
        assert records.keys() == whole.keys()


def test_the_study_status_lists_the_seeds_still_to_run() -> None:
    study = StudySpec.model_validate(STUDY)
    first = _work_off(study, 13)
    standing = study_progress(study, first)
    assert {start.run.method.name for start in standing.pending} == {"lora", "ia3"}
    assert {start.run.seed for start in standing.pending} == {3}
