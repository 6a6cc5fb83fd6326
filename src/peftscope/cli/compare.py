"""``peftscope compare``: every technique under the same conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from peftscope.cli.output import RunProgress, print_json, show_warnings
from peftscope.cli.vocabulary import vocabulary
from peftscope.spec.metric import MetricSpec
from peftscope.spec.reader import read_study
from peftscope.spec.record import RunRecord
from peftscope.spec.run import RunSpec

__all__ = ["compare", "conclude", "do_runs"]


def compare(
    study: Annotated[Path, typer.Argument(help="A study.yaml; 'peftscope init' writes one to start from.")],
    out: Annotated[Path | None, typer.Option(help="Folder for records and adapters; results/NAME by default.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train and score every technique of a study under the same conditions; a second call finishes what is missing."""
    spec = read_study(study, vocabulary())
    # Imported late: torch and its kin take seconds, a mistake in the study should not.
    from peftscope.plan.expand import expand

    runs = expand(spec)
    folder = out or Path("results") / spec.name
    records, metric = do_runs(runs, folder, quiet=quiet)
    conclude("compare", records, metric, folder, json_output=json_output, title=spec.name)


def do_runs(runs: list[RunSpec], folder: Path, *, quiet: bool) -> tuple[list[RunRecord], MetricSpec]:
    """Check the data, then do the runs with progress shown; gives the records and the task's metric.

    Raises:
        PeftscopeError: The data, the model or the folder is not as it should be; nothing was trained.
    """
    from peftscope.store.files import ensure_folder

    ensure_folder(folder)
    with Console(stderr=True, quiet=quiet).status("reading model and data"):
        from peftscope.run.launch import launch, warm_up

        warm_up()
        from peftscope.plan.preflight import check

        checked = check(runs[0])
    with RunProgress(len(runs), quiet=quiet) as progress:
        return list(launch(runs, folder, on_event=progress, checked=checked)), checked.metric


def conclude(
    command: str, records: list[RunRecord], metric: MetricSpec, folder: Path, *, json_output: bool, title: str
) -> None:
    """Print what came out and leave with 1 where a run failed."""
    from peftscope.analysis.summary import summarise
    from peftscope.methods.catalog import BASE
    from peftscope.store.frame import examples_of, frame_of

    summary = summarise(
        frame_of(records), examples_of(records), base=BASE, higher_is_better=metric.direction != "lower"
    )
    if json_output:
        runs = [r.model_dump(mode="json", by_alias=True, exclude={"examples", "curve"}) for r in records]
        print_json(command, {"runs": runs, "summary": summary})
    else:
        _print_tables(summary, metric, records, folder, title)
    if any(record.status != "ok" for record in records):
        raise typer.Exit(1)


def _print_tables(
    summary: list[dict[str, Any]], metric: MetricSpec, records: list[RunRecord], folder: Path, title: str
) -> None:
    from peftscope.views.table import failure_lines, quality_and_cost, terminal_table

    console = Console()
    console.print(f"{title}: {metric.name}, {metric.window}", style="bold", markup=False, highlight=False)
    for table in quality_and_cost(summary, metric):
        console.print(terminal_table(table))
    for line in failure_lines(summary):
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"Intervals (95 %) are over test examples, for the trainings done: {_seeds(records)}. "
        f"Forgetting and drift in nats per token. Records: {folder}",
        markup=False,
        highlight=False,
    )
    show_warnings(warning for record in records for warning in record.warnings)


def _seeds(records: list[RunRecord]) -> str:
    count = len({record.spec.seed for record in records})
    return "one seed each" if count == 1 else f"{count} seeds each"
