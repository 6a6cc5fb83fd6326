"""What does not fit is not tried unless asked for, and runs share memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from peftscope.execution.events import Listener
from peftscope.execution.executors.local import LocalExecutor
from peftscope.execution.executors.resources import Resources
from peftscope.execution.launcher import launch
from peftscope.execution.memory_budget import MemoryBudget, memory_budget_for
from peftscope.schema.live import RunState
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.tuning.job import Job
from peftscope.tuning.scheduler import FixedScheduler

MakeRun = Callable[..., RunSpec]
ALONE = Resources(num_workers=1, num_threads=1)


class _Together(Listener):
    """Counts runs under way."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def started(self, run: RunSpec, state: RunState) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def ended(self, run: RunSpec, record: RunRecord) -> None:
        self.now -= 1


def _starts(runs: list[RunSpec]) -> FixedScheduler:
    return FixedScheduler([Job(run=run) for run in runs])


def test_methods_predicted_not_to_fit_are_refused_with_advice(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("lora"), make_run("full")]
    checked = LocalExecutor(tmp_path).check(runs)
    peaks = {f.footprint.method: f.footprint.peak_bytes for f in checked.forecasts}
    assert peaks["lora"] is not None
    assert peaks["full"] is not None
    assert peaks["lora"] < peaks["full"]
    between = (peaks["lora"] + peaks["full"]) // 2
    forecasts = tuple(replace(f, fits=(f.footprint.peak_bytes or 0) <= between) for f in checked.forecasts)
    tight = replace(checked, forecasts=forecasts, machine=replace(checked.machine, memory_bytes=between))
    records = launch(
        _starts(runs),
        tmp_path,
        checked=tight,
        executor=LocalExecutor(tmp_path, ALONE),
        budget=memory_budget_for(tight, ALONE, try_all=False),
    )
    assert [record.status for record in records] == ["ok", "refused"]
    assert "predicted to take" in (records[1].reason or "")
    again = launch(
        _starts(runs),
        tmp_path,
        checked=tight,
        executor=LocalExecutor(tmp_path, ALONE),
        budget=memory_budget_for(tight, ALONE, try_all=True),
    )
    assert [record.status for record in again] == ["ok", "ok"]


@pytest.mark.slow
def test_the_advice_names_the_fastest_memory_setting_that_fits(make_run: MakeRun, tmp_path: Path) -> None:
    checked = LocalExecutor(tmp_path).check([make_run("lora")])
    forecasts = tuple(replace(f, fits=False, fits_with="lean", checkpointed_bytes=1) for f in checked.forecasts)
    tight = replace(checked, forecasts=forecasts, machine=replace(checked.machine, memory_bytes=2))
    [reason] = memory_budget_for(tight, ALONE, try_all=False).reasons.values()
    assert "train.memory: lean would fit" in reason
    assert "checkpointing" not in reason


def test_where_reading_general_text_does_not_fit_it_may_be_left_out(make_run: MakeRun, tmp_path: Path) -> None:
    checked = LocalExecutor(tmp_path).check([make_run("lora")])
    [found] = checked.forecasts
    assert found.footprint.peak_bytes is not None
    largest = {
        "peak_eval_bytes": 2 * found.footprint.peak_bytes,
        "peak_retention_bytes": 2 * found.footprint.peak_bytes,
    }
    large = replace(found, fits=False, footprint=replace(found.footprint, **largest))
    tight = replace(checked, forecasts=(large,), machine=replace(checked.machine, memory_bytes=2))
    [reason] = memory_budget_for(tight, ALONE, try_all=False).reasons.values()
    assert reason.startswith("measuring what is kept of the base is predicted to take")
    assert "general_tokens: 0" in reason


def test_runs_that_do_not_fit_in_memory_together_run_sequentially(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("lora"), make_run("ia3")]
    two = Resources(num_workers=2, num_threads=1)
    needs = {"lora": 60, "ia3": 50}
    for memory, most in ((100, 1), (110, 2)):
        watcher = _Together()
        launch(
            _starts(runs),
            tmp_path / str(memory),
            checked=LocalExecutor(tmp_path / str(memory)).check(runs),
            executor=LocalExecutor(tmp_path / str(memory), two),
            budget=MemoryBudget(memory_bytes=memory, needs=needs),
            listeners=[watcher],
        )
        assert watcher.most == most


def test_each_device_gets_its_own_memory_budget(make_run: MakeRun) -> None:
    budget = MemoryBudget(memory_bytes=100, resources=replace(ALONE, num_devices=2), needs={"lora": 60})
    lora = make_run("lora")
    assert budget.fits(lora, 1, {0: lora})
    assert not budget.fits(lora, 2, {0: lora})
    assert budget.fits(lora, 2, {1: lora})
