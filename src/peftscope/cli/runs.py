"""What all commands that do runs share: check, launch, conclude."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from peftscope.analysis.fairness import Fairness
from peftscope.analysis.rate_source import with_rate_source
from peftscope.analysis.tuning import Tuning
from peftscope.cli.figures import known_metrics
from peftscope.cli.output import print_event, print_json, show_warnings
from peftscope.cli.progress import progress_for
from peftscope.cli.recommend_document import fairness_document
from peftscope.errors import SpecError
from peftscope.execution.events import Listener
from peftscope.methods.catalog import BASE
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.seeds import SeedPlan
from peftscope.schema.study import StudySpec
from peftscope.tuning.checked import Checked
from peftscope.tuning.start import Start

__all__ = ["Manner", "Outcome", "conclude", "do_runs"]


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How runs are done and told of; nothing here changes a figure of quality."""

    workers: int | None = None
    threads: int | None = None
    executor: str = "local"
    track: str | None = None
    json_output: bool = False
    json_lines: bool = False
    quiet: bool = False
    try_all: bool = False
    """Try what is predicted not to fit, too."""

    def __post_init__(self) -> None:
        if self.json_output and self.json_lines:
            raise SpecError("--json, --json-lines", ["both print to the same place; give one of them"])


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What runs came to, to be shown."""

    command: str
    title: str
    folder: Path
    records: list[RunRecord]
    metric: MetricSpec
    study: StudySpec | None = None
    """None where one run was done by itself."""


def do_runs(
    what: StudySpec | Sequence[Start], folder: Path, *, title: str, manner: Manner
) -> tuple[list[RunRecord], MetricSpec]:
    """Check model and data, then do a study or some runs with progress shown; gives the records and the task's metric.

    Raises:
        PeftscopeError: The data, the model or the folder is not as it should be; nothing was trained.
    """
    from peftscope.execution.executors import registry as executors
    from peftscope.execution.executors.local import inspect
    from peftscope.execution.executors.share import share_out
    from peftscope.execution.history import changes_of_study, known_runs, outdated, remember_study
    from peftscope.execution.launch import launch, study_held
    from peftscope.execution.room import room_for
    from peftscope.tuning.agenda import FixedAgenda, agenda_of
    from peftscope.tuning.expand import one_of_each

    console = Console(stderr=True, quiet=manner.quiet, soft_wrap=True, highlight=False)
    listeners: list[Listener] = []
    if manner.track is not None:  # first of all: a tracker that is not installed should be told at once
        from peftscope.execution.trackers import tracker_for

        listeners.append(tracker_for(manner.track, project=title))

    def say(lines: Sequence[str]) -> None:
        for line in lines:
            console.print(line, style="yellow", markup=False)

    def wait() -> None:
        say(["another process runs this study; this one waits until that has ended ('peftscope status' shows it)"])

    executors.EXECUTORS.get(manner.executor)  # whether there is one
    with study_held(folder, wait):
        study = what if isinstance(what, StudySpec) else None
        say(changes_of_study(folder, study) if study is not None else [])
        with console.status("reading model and data"):
            checked = inspect(one_of_each(_runs_of(what)), folder)
        share = share_out(checked.machine, workers=manner.workers, threads=manner.threads)
        room = room_for(checked, share, try_all=manner.try_all)
        if study is not None:
            _print_plan(checked, console)
            say(tuning_lines(study))
            say(seed_lines(study))
        say(room.warnings)
        say(outdated(_runs_of(what) if study is None else known_runs(folder, study), folder, checked))
        if study is not None:
            remember_study(folder, study)
        agenda = (
            FixedAgenda(what)
            if not isinstance(what, StudySpec)
            else agenda_of(
                what,
                higher_is_better=checked.metric.direction != "lower",
                width=checked.width,
            )
        )
        progress = progress_for(title=title, quiet=manner.quiet, json_lines=manner.json_lines, metric=checked.metric)
        listeners.insert(0, progress)  # a tracker may take its time to close
        executor = executors.make(manner.executor, folder, share)
        records = launch(agenda, folder, checked=checked, executor=executor, room=room, listeners=listeners)
        return records, checked.metric


def _runs_of(what: StudySpec | Sequence[Start]) -> list[RunSpec]:
    from peftscope.tuning.expand import expand

    return expand(what) if isinstance(what, StudySpec) else [start.run for start in what]


def tuning_lines(study: StudySpec) -> list[str]:
    """What tuning offers and costs, told before it starts; nothing of a study without."""
    tuning = study.tuning
    if tuning is None:
        return []
    effort = tuning.protocol
    if effort is None:
        return [
            f"tuning with {tuning.trials} trials and one seed: the best learning rate may lie at the edge of what is "
            "tried, and equally good techniques may look different; 'effort: standard' goes on until it is bracketed"
        ]
    seeds = "1 seed" if effort.num_seeds == 1 else f"{effort.num_seeds} seeds"
    return [
        f"tuning effort '{effort.name}': up to {effort.num_short} short and {effort.num_full} full trials a technique, "
        f"{seeds}; costs about {effort.price:.1f} full trainings each. In simulated studies equally good techniques "
        f"were told apart in {effort.false_difference:.0%}, and tuning lost {effort.points_lost:.1f} points on "
        f"average, {effort.worst_lost:.1f} for the worst of eight"
    ]


def seed_lines(study: StudySpec) -> list[str]:
    """What more seeds where they decide may cost, told before it starts; nothing of a study with a list of seeds."""
    plan = study.seeds
    if not isinstance(plan, SeedPlan):
        return []
    count = sum(len(method.learning_rates or (None,)) for method in study.methods if method.name != BASE)
    return [
        f"seeds: {plan.first} of each technique ({count * plan.first} final runs), then more for those between which "
        f"they decide, up to {plan.most} of each ({count * plan.most} final runs at most); looked at with "
        f"{', '.join(map(str, plan.counts[:-1]))} and {plan.counts[-1]} seeds, with one error for all looks"
    ]


def _print_plan(checked: Checked, console: Console) -> None:
    """What each method is predicted to take."""
    from peftscope.views.footprints import footprint_table

    if checked.forecasts:
        console.print("Predicted, before anything runs:", style="bold")
        console.print(footprint_table(checked.forecasts, limit=checked.machine.memory_bytes, brief=True))


def conclude(outcome: Outcome, manner: Manner, *, across: bool = False) -> None:
    """Print what came out and leave with 1 where a run failed."""
    from peftscope.analysis.protocols import protocol_differences
    from peftscope.analysis.summary import summarise
    from peftscope.methods.catalog import BASE
    from peftscope.store.frame import examples_of, frame_of

    tunings = _tunings(outcome)
    treated = _treated(outcome, tunings)
    records = [record for record in outcome.records if record.spec.purpose == "final"]
    summary = summarise(
        frame_of(records),
        examples_of(records),
        base=BASE,
        metrics=known_metrics(),
        higher_is_better=outcome.metric.direction != "lower",
        across=across,
    )
    differing = protocol_differences(records)
    if manner.json_output:
        told = [with_rate_source(record, tunings) for record in outcome.records]
        runs = [r.model_dump(mode="json", by_alias=True, exclude={"examples", "curve"}) for r in told]
        fair = None if treated is None else fairness_document(treated)
        print_json(outcome.command, {"runs": runs, "summary": summary, "conditions": differing, "fairness": fair})
    elif manner.json_lines:
        print_event("summary", {"summary": summary, "conditions": differing})
    else:
        _print_tables(summary, outcome, records, differing, across=across)
        _print_fairness(treated, outcome)
        show_warnings(warning for record in outcome.records for warning in record.warnings)
    left_out = [] if treated is None else [share for share in treated.shares if not share.seeds]
    if left_out or any(record.status != "ok" for record in records):
        raise typer.Exit(1)


def _tunings(outcome: Outcome) -> Sequence[Tuning]:
    """What the tuning of a study came to."""
    if outcome.study is None:
        return ()
    from peftscope.tuning.standing import standing_of

    return standing_of(outcome.study, {record.run_id: record for record in outcome.records}).tunings


def _treated(outcome: Outcome, tunings: Sequence[Tuning]) -> Fairness | None:
    """How equally the techniques of a study were treated."""
    if outcome.study is None:
        return None
    from peftscope.analysis.fairness import fairness
    from peftscope.cli.findings import traits_by_name

    return fairness(outcome.records, tunings, outcome.study, traits=traits_by_name())


def _print_fairness(treated: Fairness | None, outcome: Outcome) -> None:
    from peftscope.views.fairness import LOUD, fairness_lines, unfinished_lines

    if treated is None:
        return
    console = Console(soft_wrap=True, highlight=False)
    for line in unfinished_lines(treated):
        console.print(line, style="red", markup=False)
    lines = fairness_lines(treated)
    for number, line in enumerate(lines):
        console.print(line, style="yellow" if LOUD in lines[: number + 1] else "", markup=False)
    place = outcome.folder
    console.print(f"What to take: peftscope recommend {place}; all of it: peftscope report {place}", markup=False)


def _print_tables(
    summary: list[dict[str, Any]],
    outcome: Outcome,
    records: Sequence[RunRecord],
    differing: Sequence[str],
    *,
    across: bool,
) -> None:
    from peftscope.views.table import failure_lines, quality_and_cost, terminal_table

    console = Console(soft_wrap=True, highlight=False)
    metric = outcome.metric
    console.print(f"{outcome.title}: {metric.name}, {metric.window}", style="bold", markup=False)
    tables = quality_and_cost(summary, metric, known_metrics())
    for table in tables:
        if len(tables) > 2:
            console.print(table.title, style="bold", markup=False)
        console.print(terminal_table(table))
    for line in failure_lines(summary):
        console.print(line, style="red", markup=False)
    if differing:
        how = "Ranked across different conditions, as asked" if across else "Not ranked together"
        for line in (f"{how}; what differs:", *(f"  {line}" for line in differing)):
            console.print(line, style="yellow", markup=False)
    console.print(
        f"Intervals (95 %) are {_window(records)}, for the configuration each was run with. "
        f"{_units(summary)}Records: {outcome.folder}",
        markup=False,
    )


def _units(summary: Sequence[Mapping[str, Any]]) -> str:
    """Of what stands in the table of quality without one."""
    headed = [m for m in known_metrics() if m.heading and m.unit == "nats/token"]
    told = [m.title for m in headed if any(row.get(m.name) is not None for row in summary)]
    return f"{' and '.join(told).capitalize()} in nats per token. " if told else ""


def _window(records: Sequence[RunRecord]) -> str:
    count = len({record.spec.seed for record in records})
    return "over test examples alone, one seed each" if count == 1 else f"over seeds ({count}) and test examples"
