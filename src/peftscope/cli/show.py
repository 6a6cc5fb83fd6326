"""``peftscope show``: everything there is to know of one run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from peftscope.analysis.rate_source import with_rate_source
from peftscope.cli import options
from peftscope.cli.output import print_json
from peftscope.cli.overview import overview
from peftscope.cli.place import find_record
from peftscope.cli.tally import NOT_FAILED
from peftscope.schema.record import RunRecord
from peftscope.store.files import record_path
from peftscope.views.line import one_line
from peftscope.views.sheet import Section, sheet

__all__ = ["repeat_command", "show"]


def show(
    run: Annotated[str, typer.Argument(help="Id of a run, the first letters of one, or the path of its record.")],
    study: Annotated[
        Path | None, typer.Option(help="The study's folder or file; all under results/ by default.")
    ] = None,
    json_output: options.Json = False,
) -> None:
    """Show one run: what it was, how it ended, its figures, curve and outputs, and how to repeat it."""
    folder, record = find_record(run, study)
    record = with_rate_source(record, overview(folder).tunings)
    adapter, log = folder / "adapters" / record.run_id, folder / "logs" / f"{record.run_id}.log"
    places = {
        "record": str(record_path(folder, record.run_id)),
        "adapter": str(adapter) if adapter.exists() else None,
        "log": str(log) if log.exists() else None,
    }
    command = repeat_command(record, folder)
    if json_output:
        plain = record.model_dump(mode="json", by_alias=True)
        print_json("show", {"run": plain, "folder": str(folder), **places, "repeat": command})
        return
    console = Console(highlight=False)
    good = record.status in NOT_FAILED
    heading = Text.assemble(
        (one_line(record.spec.title), "bold"), f"  {record.run_id}  ", (record.status, "green" if good else "red")
    )
    console.print(heading)
    for section in sheet(record):
        _print_section(console, section)
    console.print(Text("\nfiles", style="bold"))
    for name, place in places.items():
        console.print(Text(f"  {name + ':':9}{place or 'none'}"), soft_wrap=True)
    if command is not None:
        console.print(Text("\nto repeat it", style="bold"))
        console.print(Text(f"  {command}"), soft_wrap=True)


def repeat_command(record: RunRecord, folder: Path) -> str | None:
    """The command that repeats a run with the threads it had: another number adds up in another order.

    None for a run that was not made here.
    """
    if record.origin == "foreign":
        return None
    words = ["peftscope", "rerun", record.run_id, "--study", str(folder)]
    counts = [attempt.environment.get("num_threads") for attempt in record.attempts if attempt.kind == "run"]
    if counts and counts[-1]:
        words += ["--threads", str(counts[-1])]
    return shlex.join(words)


def _print_section(console: Console, section: Section) -> None:
    console.print(Text(f"\n{section.title}", style="bold"))
    table = Table.grid(padding=(0, 2, 0, 0))
    labelled = any(label for label, _ in section.lines)
    if labelled:
        table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for label, text in section.lines:
        table.add_row(*([Text(label)] if labelled else []), Text(text))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))
