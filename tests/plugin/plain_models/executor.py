"""Runs one after the other in the process that asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from peftscope.execution.execute import execute
from peftscope.execution.executors.base import AssignedJob, Ended, Event, Executor
from peftscope.execution.executors.resources import Resources
from peftscope.schema.live import RunState
from peftscope.schema.record import timestamp
from peftscope.schema.run import RunSpec
from peftscope.store.files import write_record
from peftscope.store.run_states import clear_state, run_lock, write_state
from peftscope.tuning.check_result import CheckResult, Machine
from peftscope.tuning.preflight import check


class InTurn(Executor):
    def __init__(self, folder: Path, resources: Resources | None = None) -> None:
        super().__init__(folder, resources)
        self.waiting: list[AssignedJob] = []

    def check(self, runs: Sequence[RunSpec]) -> CheckResult:
        return check(runs, self.folder / "cache")

    def share_out(self, machine: Machine, *, workers: int | None = None, threads: int | None = None) -> Resources:
        return self.resources  # one run at a time, whatever is asked for

    def submit(self, job: AssignedJob) -> RunState:
        now, run = timestamp(), job.run
        state = RunState(
            run_id=run.run_id,
            title=run.title,
            worker=job.worker,
            num_workers=1,
            num_attempts=0,
            started_at=now,
            updated_at=now,
            until=job.until,
            spec=run,
        )
        write_state(self.folder, state)
        self.waiting.append(job)
        return state

    def events(self, timeout_s: float) -> Iterator[Event]:
        for job in list(self.waiting):
            with run_lock(self.folder, job.run.run_id):
                record = execute(job.run, self.folder, cached=job.cached, until=job.until)
                write_record(self.folder, record)
            clear_state(self.folder, job.run.run_id)
            self.waiting.remove(job)
            yield Ended(job=job, record=record)

    def stop(self, job: AssignedJob) -> None:
        self.waiting.remove(job)

    def end_all(self, reason: str) -> None:
        self.waiting.clear()
