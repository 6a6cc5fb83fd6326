"""The contract of an executor: takes jobs, tells how they get on, and stops them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from peftscope.errors import StoreError
from peftscope.execution.executors.resources import Resources, divide_resources
from peftscope.schema.live import RunState
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.tuning.check_result import CheckResult, Machine

__all__ = ["AssignedJob", "Ended", "Event", "Executor", "Failed", "Moved"]


@dataclass(frozen=True, kw_only=True)
class AssignedJob:
    """One start of a run."""

    run: RunSpec
    worker: int
    """Its place among the workers, from 0."""
    cached: Path | None = None
    """Where the task's data lie prepared."""
    until: int | None = None
    """Rung at which a trial is to pause; None goes to the end."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A job came on."""

    job: AssignedJob
    state: RunState


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A job is over, and its record is written; also where it was lost, which its record says."""

    job: AssignedJob
    record: RunRecord


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A job could not write its record: the study cannot go on."""

    job: AssignedJob
    error: StoreError


Event = Moved | Ended | Failed


class Executor(ABC):
    """Executes the jobs of one study, on this machine or on others that see the study's folder.

    Every start is accounted for: its state lies in the folder before the job begins, and goes when the record is
    written. The process that does a run holds the run's lock (``store.run_states.run_lock``) for as long as it lives,
    so that a later start knows whether it has ended.

    Args:
        folder: The study's folder, where records and the states of runs under way lie.
        resources: Workers, and what each may use; ``share_out`` finds them.
    """

    def __init__(self, folder: Path, resources: Resources | None = None) -> None:
        self.folder = folder
        self.resources = resources or Resources(num_workers=1, num_threads=1)
        self.base = Path.cwd()
        """Folder that relative paths of models, data and modules are taken from."""

    @abstractmethod
    def check(self, runs: Sequence[RunSpec]) -> CheckResult:
        """Check model and data by one run of each method, where runs are executed, and prepare them for all.

        Raises:
            PeftscopeError: What is wrong with them; nothing was trained.
        """

    def share_out(self, machine: Machine, *, workers: int | None = None, threads: int | None = None) -> Resources:
        """Decide how many runs go on at once and what each may use: of one machine, unless a class says otherwise.

        Args:
            machine: What ``check`` found.
            workers: Runs at once; None takes the default.
            threads: Threads of each worker; None takes the default.

        Raises:
            SpecError: There is less than is asked for.
        """
        self.resources = divide_resources(machine, workers=workers, threads=threads)
        return self.resources

    @abstractmethod
    def submit(self, job: AssignedJob) -> RunState:
        """Start a job on a worker that is free; gives its first state.

        Raises:
            StoreError: Its state cannot be written; nothing was started.
            PeftscopeError: It cannot be started at all.
        """

    @abstractmethod
    def events(self, timeout_s: float) -> Iterator[Event]:
        """What has happened since the last call; waits for something at most so long."""

    @abstractmethod
    def stop(self, job: AssignedJob) -> None:
        """Ask a job to end after its current step; it leaves a record."""

    @abstractmethod
    def end_all(self, reason: str) -> None:
        """End all jobs at once; where a record can be written, it says for what reason."""
