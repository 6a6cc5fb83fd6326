"""``peftscope show``: everything there is to know of one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from peftscope.cli import options
from peftscope.cli.output import print_json
from peftscope.study.folder import find_record

__all__ = ["show"]


def show(
    run: Annotated[str, typer.Argument(help="Id of a run, the first letters of one, or the path of its record.")],
    study: Annotated[
        Path | None, typer.Option(help="The study's folder or file; all under results/ by default.")
    ] = None,
    json_output: options.Json = False,
) -> None:
    """Show one run: what it was, how it ended, its metrics, curve and outputs, and how to repeat it."""
    from peftscope.study.run_details import details_of

    folder, record = find_record(run, study)
    found = details_of(record, folder)
    if json_output:
        print_json(found.document())
    else:
        Console(highlight=False).print(found, crop=False)
