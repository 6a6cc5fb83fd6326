"""Where a study stands by its records."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from peftscope.analysis.tuning import Tuning
from peftscope.schema.elimination import Elimination, RaceLook
from peftscope.schema.record import FINISHED, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import StudySpec
from peftscope.tuning.job import Job
from peftscope.tuning.racing import RaceHistory
from peftscope.tuning.scheduler import Scheduler, TunedScheduler, UntunedScheduler, scheduler_for
from peftscope.tuning.search_space import MAX_KILLS

__all__ = ["StudyProgress", "finished_runs", "is_finished", "replay", "study_progress"]


def replay(scheduler: Scheduler, done: Callable[[Job], RunRecord | None]) -> tuple[dict[str, RunRecord], list[Job]]:
    """Tell a scheduler of everything that is done already.

    Args:
        scheduler: Told of records until nothing more follows.
        done: The record of a start that need not be made again; None where it has to be made.

    Returns:
        Records by run, and the starts that have to be made now.
    """
    found: dict[str, RunRecord] = {}
    pending: list[Job] = []
    while due := deque(scheduler.due()):
        for job in due:
            record = done(job)
            if record is None:
                pending.append(job)
            else:
                found[record.run_id] = record
                scheduler.tell(record)
    return found, pending


@dataclass(frozen=True, kw_only=True)
class StudyProgress:
    """A study as its records tell it."""

    scheduler: UntunedScheduler | TunedScheduler
    runs: tuple[RunSpec, ...]
    """Runs that are known: those done, and those to be started now."""
    pending: tuple[Job, ...]
    """What is to be started now."""

    @property
    def tunings(self) -> list[Tuning]:
        """What tuning came to, a method each; none in a study without."""
        return self.scheduler.tunings() if isinstance(self.scheduler, TunedScheduler) else []

    @property
    def eliminations(self) -> tuple[Elimination, ...]:
        """Methods that were eliminated on the way."""
        return tuple(self.scheduler.eliminations)


def study_progress(study: StudySpec, records: Mapping[str, RunRecord], looks: Sequence[RaceLook] = ()) -> StudyProgress:
    """Where a study stands by its records; nothing is started, written or decided.

    Args:
        study: The study.
        records: By the ids of their runs; curves are needed for trials that paused.
        looks: That its race took (``store.race``).

    Raises:
        SpecError: A method is not known.
    """
    metric = next((record.metric for record in records.values() if record.metric is not None), None)
    width = next((record.base_width for record in records.values() if record.base_width is not None), None)
    history = RaceHistory(looks=looks, finished=finished_runs(records.values()))
    higher_is_better = metric is None or metric.direction != "lower"
    scheduler = scheduler_for(study, higher_is_better=higher_is_better, width=width, history=history)

    def done(job: Job) -> RunRecord | None:
        record = records.get(job.run.run_id)
        return record if record is not None and (job.is_reached_by(record) or _is_given_up(record)) else None

    found, pending = replay(scheduler, done)
    runs = {run_id: record.spec for run_id, record in found.items()}
    runs |= {job.run.run_id: job.run for job in pending}
    # done in a round that waits for one before it, whose run has to be made again
    runs |= {run.run_id: run for run in scheduler.following() if run.run_id in records}
    return StudyProgress(scheduler=scheduler, runs=tuple(runs.values()), pending=tuple(pending))


def is_finished(record: RunRecord, quality_protocol: str | None, job: Job) -> bool:
    """Whether a start need not be made: its run came so far already, under the conditions that hold now."""
    if record.quality_protocol != quality_protocol:
        return False
    return job.has_paused(record) or (record.status in FINISHED and not record.is_predicted_refusal)


def finished_runs(records: Iterable[RunRecord]) -> dict[str, str | None]:
    """Runs that are not made again under the conditions they were made under -> these."""
    return {
        record.run_id: record.quality_protocol
        for record in records
        if is_finished(record, record.quality_protocol, Job(run=record.spec))
    }


def _is_given_up(record: RunRecord) -> bool:
    """Whether a trial was killed so often that its search gives it up; not where its study was stopped."""
    kills = sum(attempt.status == "killed" and not attempt.ended_with_study for attempt in record.attempts)
    return record.spec.purpose == "trial" and record.status == "killed" and kills >= MAX_KILLS
