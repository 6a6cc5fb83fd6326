"""``peftscope export``: a study's records for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peftscope.cli import options
from peftscope.cli.output import print_json

__all__ = ["export"]

STDOUT = Path("-")


def export(
    study: Annotated[Path, typer.Argument(help="A folder of results, or the study.yaml they were made from.")],
    layout: Annotated[
        str | None,
        typer.Option(help="Layout of the files in --to: upstream, one JSON per run as the PEFT benchmark's."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for files in that layout.")] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV file with one row per run; - prints it.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Markdown file with the runs' tables; - prints it.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a line.")] = False,
) -> None:
    """Write a study's records as result files of the PEFT benchmark, as CSV or as Markdown.

    Trials, which have no result on the test split, are in the CSV alone.
    """
    from peftscope.study.import_export import export_study

    request = options.request("export")
    printed = [name for name, path in (("--csv -", csv), ("--markdown -", markdown)) if path == STDOUT]
    printed += ["--json"] if json_output else []
    if len(printed) > 1:
        request.problems.append(f"{' and '.join(printed)} would print into one another; give all but one a file")
    done = export_study(study, request, layout=layout, to=to, csv=csv, markdown=markdown)
    typer.echo(done.printed, nl=False)
    if json_output:
        print_json(done.document())
    elif text := done.text():
        typer.echo(text, err=bool(printed))
