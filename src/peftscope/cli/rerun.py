"""``peftscope rerun``: repeat a run, and see whether it gives the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from peftscope.cli.output import print_json
from peftscope.cli.place import find_record
from peftscope.cli.runs import Manner, do_runs
from peftscope.errors import SpecError
from peftscope.schema.record import RunRecord
from peftscope.tuning.start import Start

__all__ = ["rerun"]

SHOWN = 12
"""Deviations printed; the JSON document holds all."""


def rerun(
    run: Annotated[str, typer.Argument(help="Id of a run, the first letters of one, or the path of its record.")],
    study: Annotated[
        Path | None, typer.Option(help="The study's folder or file; all under results/ by default.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; those of the run by default.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Repeat a run from its record alone, and compare: exit code 0 if all that can repeat is the same, else 1."""
    folder, record = find_record(run, study)
    if record.origin == "foreign":
        raise SpecError(run, ["was imported; only a run made here can be repeated"])
    manner = Manner(workers=1, threads=threads or _threads_of(record), quiet=quiet)
    from peftscope.store.files import add_attempt, ensure_folder, record_path

    at_home = record_path(folder, record.run_id).is_file()  # else a loose copy, with no study around it
    with tempfile.TemporaryDirectory(dir=ensure_folder(folder) if at_home else None, prefix=".rerun-") as place:
        (second,), _ = do_runs([Start.of(record)], Path(place), title=record.spec.title, manner=manner)
    from peftscope.execution.launch import study_held
    from peftscope.execution.repeat import compare_records

    found = compare_records(record, second)
    again = second.attempts[-1].model_copy(update={"kind": "rerun", "agrees": found.agrees})
    noted = False
    if at_home:
        with study_held(folder, lambda: None):
            noted = add_attempt(folder, record, again)
    if json_output:
        print_json(
            "rerun",
            {
                "run_id": record.run_id,
                "agrees": found.agrees,
                "same_losses": found.same_losses,
                "num_losses": found.num_losses,
                "deviations": list(found.deviations),
                "conditions": list(found.conditions),
                "status": second.status,
                "noted": noted,
            },
        )
    else:
        _print(record, second, found.deviations, found.conditions, found.num_losses if found.same_losses else None)
    if not found.agrees:
        raise typer.Exit(1)


def _threads_of(record: RunRecord) -> int | None:
    """Threads the figures were made with: another number adds up in another order."""
    counts = [a.environment.get("num_threads") for a in record.attempts if a.kind == "run" and a.environment]
    return int(counts[-1]) if counts and counts[-1] else None


def _print(
    record: RunRecord,
    second: RunRecord,
    deviations: tuple[str, ...],
    conditions: tuple[str, ...],
    same_losses: int | None,
) -> None:
    console = Console(soft_wrap=True, highlight=False)

    def say(line: str, style: str | None = None) -> None:
        console.print(line, style=style, markup=False)

    say(f"{record.spec.title} ({record.run_id}): first {record.status}, now {second.status}", "bold")
    if same_losses is not None:
        say(f"  all {same_losses} losses on the curve are the same, bit for bit")
    if not deviations:
        say("  every figure that can repeat is the same", "green")
    for line in deviations[:SHOWN]:
        say(f"  differs: {line}", "red")
    if len(deviations) > SHOWN:
        say(f"  … and {len(deviations) - SHOWN} more; --json lists all", "red")
    for line in conditions:
        say(f"  other conditions: {line}", "yellow")
    for name, label in (("train_time_s", "training"), ("total_time_s", "in all")):
        first, again = record.metrics.get(name), second.metrics.get(name)
        if first and again:
            say(f"  {label}: {first:.1f} s, now {again:.1f} s")
