"""Runs in child processes on this machine, so that a crash costs one run and leaves a record.

Children are forked from a parent that has imported everything and done nothing else (``forking``). What a study
shares is checked and prepared once, in such a child too: the process the user started imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path

from peftscope.errors import PeftscopeError, StoreError
from peftscope.execution.executors.base import AssignedJob, Ended, Event, Executor, Failed, Moved
from peftscope.execution.executors.child import Child
from peftscope.execution.executors.forking import warm_up
from peftscope.execution.executors.resources import Resources
from peftscope.execution.executors.worker import Order, check_study
from peftscope.schema.live import RunState
from peftscope.schema.run import RunSpec
from peftscope.store.files import ensure_folder
from peftscope.tuning.check_result import CheckResult

__all__ = ["LocalExecutor"]


class LocalExecutor(Executor):
    """Each job in a process of its own, with threads and an accelerator of its own where there are several."""

    def __init__(self, folder: Path, resources: Resources | None = None) -> None:
        super().__init__(folder, resources)
        self._children: list[tuple[AssignedJob, Child]] = []

    def check(self, runs: Sequence[RunSpec]) -> CheckResult:
        """Check them in a child process: the one the user started imports no torch."""
        context = warm_up()
        ours, theirs = context.Pipe()
        order = ([run.model_dump_json() for run in runs], self.folder.absolute() / "cache", self.base, theirs)
        child = context.Process(target=check_study, args=order, daemon=True)
        child.start()
        theirs.close()
        try:
            answer = ours.recv()
        except EOFError:
            child.join()
            raise PeftscopeError(
                f"the check of model and data ended with code {child.exitcode}; what it said last stands above"
            ) from None
        child.join()
        if isinstance(answer, PeftscopeError):
            raise answer
        assert isinstance(answer, CheckResult)
        return answer

    def submit(self, job: AssignedJob) -> RunState:
        """Fork a process for a job."""
        order = Order(
            run_json=job.run.model_dump_json(),
            folder=self.folder.absolute(),
            log=ensure_folder(self.folder.absolute() / "logs") / f"{job.run.run_id}.log",
            base=self.base,
            cached=job.cached,
            environment=self.resources.environment(job.worker, os.environ.get(self.resources.variable or "")),
            num_threads=self.resources.num_threads,
            num_workers=self.resources.num_workers,
            until=job.until,
        )
        child = Child(job.run, order, job.worker)
        self._children.append((job, child))
        child.start()
        return child.state

    def events(self, timeout_s: float) -> Iterator[Event]:
        """News of all processes, and the records of those that have ended."""
        ready = wait([handle for _, child in self._children for handle in child.handles], timeout=timeout_s)
        for job, child in list(self._children):
            if set(child.handles).isdisjoint(ready):
                continue
            try:
                for state in child.news():
                    yield Moved(job=job, state=state)
                if child.has_ended:
                    record = child.conclude()
                    self._children.remove((job, child))
                    yield Ended(job=job, record=record)
            except StoreError as error:
                yield Failed(job=job, error=error)

    def stop(self, job: AssignedJob) -> None:
        """Tell a job's process, which looks after every step."""
        for known, child in self._children:
            if known == job:
                child.ask_to_stop()

    def end_all(self, reason: str) -> None:
        """Kill the processes."""
        for _, child in self._children:
            with suppress(OSError):  # its state stays on disk, and a later start makes it an attempt
                child.end_now(reason)
