"""``peftscope rerun``: repeat a run, and see whether it gives the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peftscope.cli.output import print_json, show
from peftscope.study.folder import find_record

__all__ = ["rerun"]


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
    from peftscope.study.repetition import repeat
    from peftscope.views.progress.reporter import Reporter

    folder, record = find_record(run, study)
    found = repeat(record, folder, threads=threads, reporter=Reporter(quiet=quiet))
    if json_output:
        print_json(found.document())
    else:
        show(found)
    if not found.agrees:
        raise typer.Exit(1)
