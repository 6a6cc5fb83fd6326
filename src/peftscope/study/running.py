"""Running: check model and data, report what is predicted, then do what has no record yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.text import Text

from peftscope.execution.events import Listener
from peftscope.execution.executors import registry as executors
from peftscope.execution.executors.base import Executor
from peftscope.execution.history import (
    EarlierRuns,
    changes_of_study,
    earlier_runs,
    known_runs,
    outdated,
    race_history,
    remember_study,
)
from peftscope.execution.known_check import keep_check, known_check
from peftscope.execution.launcher import launch, nothing_left, study_lock
from peftscope.execution.memory_budget import MemoryBudget, memory_budget_for
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import StudySpec
from peftscope.store.base_folder import remember_base_folder
from peftscope.study.outlook import data_line, price_line, race_lines, seed_lines, training_lines, tuning_lines
from peftscope.tuning.check_result import CheckResult
from peftscope.tuning.expand import expand, one_of_each
from peftscope.tuning.job import Job
from peftscope.tuning.scheduler import FixedScheduler, Scheduler, scheduler_for
from peftscope.views.footprints import footprint_table
from peftscope.views.progress.reporter import Reporter

__all__ = ["Prepared", "RunOptions", "do_runs", "prepared"]

What = StudySpec | Sequence[Job]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How runs are executed; nothing here changes a figure of quality."""

    workers: int | None = None
    """Runs at once; one per accelerator, or one on the CPU, where None."""
    threads: int | None = None
    """Threads of each worker; the cores shared out where None."""
    executor: str = "local"
    """Where runs are executed: ``local``, or one that a package adds."""
    track: str | None = None
    """Tracker to report to as well: ``trackio``, ``mlflow`` or ``wandb``."""
    try_all: bool = False
    """Try what is predicted not to fit, too."""
    race: bool = True
    """False trains every method with every seed, whatever the study says."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is known before anything is trained."""

    what: What
    """What was asked for, its epochs counted as steps."""
    checked: CheckResult
    earlier: EarlierRuns
    executor: Executor
    budget: MemoryBudget
    notices: tuple[str, ...]
    """What the user should know first."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What runs came to."""

    records: list[RunRecord]
    metric: MetricSpec
    """The task's."""
    study: StudySpec | None
    """As it was done; None for runs without one."""


def do_runs(
    what: What, folder: Path, *, title: str, options: RunOptions, reporter: Reporter, base: Path | None = None
) -> Done:
    """Check model and data, then do a study or some runs with progress shown.

    Args:
        what: The study or the runs.
        folder: Their records' folder is in it.
        title: What they are called.
        options: How they are executed.
        reporter: Shows how they get on.
        base: Folder that relative paths of models and data are taken from; the working folder where None.

    Raises:
        PeftscopeError: The data, the model or the folder is not as it should be; nothing was trained.
        KeyboardInterrupt: The user stopped it; the same call goes on where this one stopped.
    """
    listeners: list[Listener] = []
    if options.track is not None:  # first of all: a tracker that is not installed should be told at once
        from peftscope.execution.trackers import tracker_for

        listeners.append(tracker_for(options.track, project=title, folder=folder))
    with prepared(what, folder, options=options, reporter=reporter, base=base, anew=False) as found:
        what, checked = found.what, found.checked
        if isinstance(what, StudySpec):
            remember_study(folder, what)
        scheduler = _scheduler(what, found.earlier, checked)
        listeners[:0] = reporter.listeners(title, checked.metric)  # a tracker may take its time to close
        records = launch(
            scheduler, folder, checked=checked, executor=found.executor, budget=found.budget, listeners=listeners
        )
        return Done(records=records, metric=checked.metric, study=what if isinstance(what, StudySpec) else None)


@contextmanager
def prepared(
    what: What,
    folder: Path,
    *,
    options: RunOptions,
    reporter: Reporter,
    base: Path | None = None,
    anew: bool = True,
) -> Iterator[Prepared]:
    """Check model and data and say what is predicted, with the study locked; arguments are those of ``do_runs``.

    With ``anew`` false, what the last check found will do where nothing is left to be done; predictions are left out.

    Raises:
        PeftscopeError: The data, the model or the folder is not as it should be.
    """
    base = base or Path.cwd()
    if isinstance(what, StudySpec) and not options.race:
        what = what.model_copy(update={"race": False})
    executor = executors.make(options.executor, folder, base)
    notices: list[str] = []

    def note(lines: Sequence[str]) -> None:
        notices.extend(lines)
        reporter.notice(lines)

    def wait() -> None:
        note(["another process runs this study; this one waits until that has ended ('peftscope status' shows it)"])

    with study_lock(folder, wait):
        unread: list[str] = []
        races = isinstance(what, StudySpec) and what.race
        earlier = earlier_runs(folder, None if races else unread)
        note(unread)
        with reporter.status("reading model and data"):
            checked = None if anew else _known(what, earlier, executor)
            is_known = checked is not None
            checked = checked or _checked(what, folder, executor)
        remember_base_folder(folder, base)
        what = _with_steps(what, checked.epoch_size)
        study = what if isinstance(what, StudySpec) else None
        note(changes_of_study(earlier, study) if study is not None else [])
        resources = executor.share_out(checked.machine, workers=options.workers, threads=options.threads)
        budget = memory_budget_for(checked, resources, try_all=options.try_all)
        if study is not None:
            if checked.forecasts:
                machine = checked.machine
                table = footprint_table(
                    checked.forecasts, device=machine.device, limit=machine.memory_bytes, brief=True
                )
                reporter.show(Text("Predicted, before anything runs:", style="bold"), table)
            price = [] if is_known else [price_line(study, checked)]
            note([*tuning_lines(study), *seed_lines(study), *race_lines(study), *price])
        note([data_line(checked.sizes), *training_lines(study, checked), *checked.notes])
        note(budget.warnings)
        note(outdated(_runs_of(what) if study is None else known_runs(earlier, study), earlier, checked))
        yield Prepared(
            what=what, checked=checked, earlier=earlier, executor=executor, budget=budget, notices=tuple(notices)
        )


def _known(what: What, earlier: EarlierRuns, executor: Executor) -> CheckResult | None:
    """What the last check found, where that still holds and nothing is left to do."""
    known = known_check(earlier.folder, one_of_each(_runs_of(what)), executor.base)
    if known is None:
        return None
    scheduler = _scheduler(_with_steps(what, known.epoch_size), earlier, known, is_reading=True)
    return known if nothing_left(scheduler, earlier.folder, earlier.records, known) else None


def _checked(what: What, folder: Path, executor: Executor) -> CheckResult:
    """Model and data as they are now."""
    runs = one_of_each(_runs_of(what))
    checked = executor.check(runs)
    keep_check(folder, runs, executor.base, checked)
    return checked


def _scheduler(what: What, earlier: EarlierRuns, checked: CheckResult, *, is_reading: bool = False) -> Scheduler:
    if not isinstance(what, StudySpec):
        return FixedScheduler(what)
    history = race_history(earlier, what, checked.quality_protocol, is_reading=is_reading)
    higher_is_better = checked.metric.direction != "lower"
    return scheduler_for(what, higher_is_better=higher_is_better, width=checked.width, history=history)


def _runs_of(what: What) -> list[RunSpec]:
    return expand(what) if isinstance(what, StudySpec) else [job.run for job in what]


def _with_steps(what: What, epoch_size: int) -> What:
    """The same with epochs counted as steps."""
    if isinstance(what, StudySpec):
        return what.model_copy(update={"train": what.train.with_steps(epoch_size)})
    runs = [job.run.model_copy(update={"train": job.run.train.with_steps(epoch_size)}) for job in what]
    return [replace(job, run=run) for job, run in zip(what, runs)]
