"""Runs the jobs of a study's scheduler: which comes next, on which worker, until nothing is left to do.

Where and how a run is executed it does not know: that is an executor's business. Every start is accounted for: its
state lies on disk before it begins and goes when the record is written; a state that is found without a process is a
start that was lost (``execution.recovery``).
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from peftscope.errors import StoreError
from peftscope.execution.events import Listener
from peftscope.execution.executors.base import AssignedJob, Ended, Executor, Moved
from peftscope.execution.interrupts import Interrupts
from peftscope.execution.memory_budget import MemoryBudget
from peftscope.execution.recovery import recover
from peftscope.schema.record import KILLED_BY_USER, STOPPED_BY_USER, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.store.files import ensure_folder, existing_record, write_record
from peftscope.store.run_states import file_lock, paused_folder, read_states
from peftscope.tuning.check_result import CheckResult
from peftscope.tuning.job import Job
from peftscope.tuning.progress import is_finished, replay
from peftscope.tuning.scheduler import Scheduler

__all__ = ["launch", "nothing_left", "study_lock"]

LOOK_S = 0.5
"""How long another process may hold a study's lock just to see whether it is held."""
PATIENCE_S = 0.2
"""How long the user's wish to stop may go unseen."""
STOP_PATIENCE_S = 5.0
"""How long a run has to end by itself then, wherever it is; a run that was stopped starts anew either way."""


@contextmanager
def study_lock(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Keep other processes from running the study; where one does, wait until it has ended.

    A folder that is made here and gets nothing into it is taken away again.

    Raises:
        StoreError: The folder is not writable.
    """
    made = [place for place in (folder, *folder.absolute().parents) if not place.exists()]
    ensure_folder(folder)
    lock = folder / ".lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(lock, timeout_s=LOOK_S))
        except TimeoutError:
            on_wait()
            stack.enter_context(file_lock(lock))
        try:
            yield
        finally:
            with suppress(OSError):  # somebody else has put something there, or taken it away
                if made and all(entry == lock for entry in folder.iterdir()):
                    lock.unlink()
                    for place in made:
                        place.rmdir()


def nothing_left(scheduler: Scheduler, folder: Path, records: Mapping[str, RunRecord], checked: CheckResult) -> bool:
    """Whether every run of a scheduler has a finished record, and no start was lost; tells the scheduler of them."""
    if read_states(folder):
        return False
    return not replay(scheduler, lambda job: _if_finished(records.get(job.run.run_id), job, checked))[1]


def _if_finished(record: RunRecord | None, job: Job, checked: CheckResult) -> RunRecord | None:
    """The record of a start that need not be made; None where it has to be."""
    return record if record is not None and is_finished(record, checked.quality_protocol, job) else None


def launch(
    scheduler: Scheduler,
    folder: Path,
    *,
    checked: CheckResult,
    executor: Executor,
    budget: MemoryBudget | None = None,
    listeners: Sequence[Listener] = (),
) -> list[RunRecord]:
    """Run the jobs of a scheduler that have no finished record yet; gives every run's record, in their order.

    To be called with the study held (``study_lock``).

    Args:
        scheduler: What to do.
        folder: The study's folder.
        checked: What the executor's ``check`` found; a record of other conditions is not taken for finished.
        executor: Where runs are executed.
        budget: What fits, and what fits together; None where there is room for everything.
        listeners: Told how the runs get on.

    Raises:
        StoreError: The folder is not writable or the disk is full.
        KeyboardInterrupt: The user stopped it. After a first Ctrl-C runs under way ended after their current step,
            after a second at once; both left records.
    """
    return _Launch(scheduler, folder, checked, executor, budget or MemoryBudget(), listeners).do()


class _Launch:
    def __init__(
        self,
        scheduler: Scheduler,
        folder: Path,
        checked: CheckResult,
        executor: Executor,
        budget: MemoryBudget,
        listeners: Sequence[Listener],
    ) -> None:
        self.scheduler, self.folder, self.checked = scheduler, folder, checked
        self.executor, self.budget, self.listeners = executor, budget, list(listeners)
        self.jobs: list[AssignedJob] = []
        self.pending: deque[Job] = deque()
        self.order: dict[str, None] = {}
        """Ids of the runs in the order they were offered."""
        self.records: dict[str, RunRecord] = {}
        self.end_reason = ""

    def do(self) -> list[RunRecord]:
        recover(self.folder)
        self._ask_scheduler()
        runs = {record.run_id: record.spec for record in self.records.values()}
        runs |= {job.run.run_id: job.run for job in self.pending}
        self._report_upcoming()
        self._tell("planned", list(runs.values()), list(self.records.values()), self.executor.resources.num_workers)
        try:
            with Interrupts() as interrupts:
                self._work_off(interrupts)
            if interrupts.count:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            self.end_reason = self.end_reason or KILLED_BY_USER
            raise
        except StoreError as error:
            self.end_reason = f"the study could not go on: {error}"
            raise
        finally:
            self.executor.end_all(self.end_reason or "ended with the study, which could not go on")
            self._tell("closed")
        shutil.rmtree(paused_folder(self.folder), ignore_errors=True)  # nobody goes on with them any more
        return [self.records[run_id] for run_id in self.order]

    def _ask_scheduler(self) -> None:
        """Take up the starts that can be made now, but for those that were made by an earlier call."""
        found, pending = replay(self.scheduler, self._done)
        self.records |= found
        self.pending += pending

    def _done(self, job: Job) -> RunRecord | None:
        self.order.setdefault(job.run.run_id)
        return _if_finished(existing_record(self.folder, job.run.run_id), job, self.checked)

    def _report_upcoming(self) -> None:
        self._tell("upcoming", [*self.pending, *self.scheduler.upcoming()], self.scheduler.num_runs)

    def _work_off(self, interrupts: Interrupts) -> None:
        stopping = False
        while self.jobs or (self.pending and not stopping):
            if interrupts.count and not stopping:
                stopping = True
                self._tell("stopping")
                for assigned in self.jobs:
                    self.executor.stop(assigned)
            while not stopping and (place := self._place()) is not None:
                job, worker = place
                self.pending.remove(job)
                reason = self.budget.refusal(job.run)
                if reason is None:
                    self._start(job, worker)
                else:
                    self._refuse(job.run, reason)
            if self.jobs:
                self._listen(goes_on=not stopping)
            if self.jobs and interrupts.age_s > STOP_PATIENCE_S:
                self.end_reason = f"{STOPPED_BY_USER}; it did not come to the end of a step in {STOP_PATIENCE_S:g} s"
                raise KeyboardInterrupt

    def _place(self) -> tuple[Job, int] | None:
        """The first start there is room for beside the runs that go on, and the worker that is to do it."""
        running = {assigned.worker: assigned.run for assigned in self.jobs}
        free = sorted(set(range(self.executor.resources.num_workers)) - set(running))
        places = ((job, worker) for job in self.pending for worker in free)
        return next((place for place in places if self.budget.fits(place[0].run, place[1], running)), None)

    def _refuse(self, run: RunSpec, reason: str) -> None:
        """Leave the record of a run that is not tried."""
        record = RunRecord(
            run_id=run.run_id,
            spec=run,
            status="refused",
            reason=reason,
            quality_protocol=self.checked.quality_protocol,
        )
        write_record(self.folder, record)
        self._conclude(run, record, goes_on=True)

    def _start(self, job: Job, worker: int) -> None:
        assigned = AssignedJob(run=job.run, worker=worker, cached=self.checked.cached, until=job.until)
        state = self.executor.submit(assigned)
        self.jobs.append(assigned)
        self._tell("started", assigned.run, state)
        self._report_upcoming()

    def _listen(self, *, goes_on: bool) -> None:
        """Wait for news, pass it on, and take the records of runs that have ended."""
        for event in self.executor.events(PATIENCE_S):
            if isinstance(event, Moved):
                self._tell("moved", event.job.run, event.state)
            elif isinstance(event, Ended):
                self.jobs.remove(event.job)
                self._conclude(event.job.run, event.record, goes_on=goes_on)
            else:
                raise event.error

    def _conclude(self, run: RunSpec, record: RunRecord, *, goes_on: bool) -> None:
        self.records[record.run_id] = record
        self._tell("ended", run, record)
        if goes_on:
            self.scheduler.tell(record)
            self._ask_scheduler()
            self._report_upcoming()

    def _tell(self, event: str, *details: Any) -> None:
        for listener in list(self.listeners):
            try:
                getattr(listener, event)(*details)
            except OSError:  # nobody can be told: a log on a full disk, a terminal that is gone; the runs go on
                self.listeners.remove(listener)
