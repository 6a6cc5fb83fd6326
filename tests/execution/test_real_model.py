"""Promises on the real embedded model: the demo's, and those of many runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from peftscope.analysis.summary import summarise
from peftscope.execution.executors.local import LocalExecutor
from peftscope.execution.launcher import launch, study_lock
from peftscope.execution.repeat import compare_records
from peftscope.methods.catalog import BASE
from peftscope.schema.override import override
from peftscope.schema.reader import read_study
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.store.frame import examples_of, frame_of
from peftscope.study.metrics import known_metrics
from peftscope.study.vocabulary import vocabulary
from peftscope.tuning.expand import expand
from peftscope.tuning.job import Job
from peftscope.tuning.scheduler import FixedScheduler

SUMS = Path(__file__).resolve().parents[2] / "studies" / "sums.yaml"


def _do(runs: list[RunSpec], folder: Path) -> list[RunRecord]:
    with study_lock(folder, lambda: None):
        executor = LocalExecutor(folder)
        checked = executor.check(runs[:1])
        executor.share_out(checked.machine)
        return launch(FixedScheduler(Job(run=run) for run in runs), folder, checked=checked, executor=executor)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_short_training_clearly_improves_the_real_model(tmp_path: Path) -> None:
    study = read_study(SUMS, vocabulary())
    runs = [run for run in expand(study) if run.method.name in (BASE, study.methods[0].name)]
    records = _do(runs, tmp_path)
    assert [record.status for record in records] == ["ok", "ok"], [r.reason for r in records]
    rows = summarise(frame_of(records), examples_of(records), base=BASE, metrics=known_metrics())
    assert rows[0]["is_base"]
    assert rows[1]["gain_interval"][0] > 0.1
    trained = records[1].metrics
    assert trained["num_total_params"] - trained["num_trainable_params"] == 134_515_008
    assert trained["peak_train_memory_bytes"] > trained["base_memory_bytes"]
    assert records[0].weights_sha256 == records[1].weights_sha256


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_repeated_run_with_equal_threads_gives_identical_losses_and_answers(tmp_path: Path) -> None:
    study = read_study(SUMS, vocabulary())
    settings = ["train.max_steps=4", "task.test_size=8", "task.general_tokens=200", "measure.latency=false"]
    run = override(next(run for run in expand(study) if run.method.name != BASE), settings)
    (first,), (second,) = _do([run], tmp_path / "first"), _do([run], tmp_path / "second")
    assert first.status == "ok", first.reason
    found = compare_records(first, second)
    assert found.num_losses == 4
    assert found.same_losses
    assert found.deviations == ()
