"""``peftscope import-results``: what others published, as records that say whose they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from peftscope.cli.output import print_json, show_warnings

__all__ = ["import_results"]


def import_results(
    folder: Annotated[Path, typer.Argument(help="Result files of the PEFT benchmark, or a folder of such folders.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the records; results/NAME OF DIR by default.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Read result files of the public PEFT benchmark, or exported ones; a second import adds nothing."""
    with Console(stderr=True).status("reading results"):
        from peftscope.study.import_export import import_results as read

        found = read(folder, out)
    if json_output:
        print_json(found.document())
    else:
        Console(highlight=False).print(found, crop=False)
    show_warnings(found.warnings)
