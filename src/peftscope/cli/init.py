"""``peftscope init``: a commented study to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peftscope.cli.output import print_json

__all__ = ["init"]


def init(
    path: Annotated[Path, typer.Argument(help="Where to write the study.")] = Path("study.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a line.")] = False,
) -> None:
    """Write a commented study.yaml: change model, data and methods in it, then run 'peftscope compare'."""
    from peftscope.study.template import write_template

    written = write_template(path, force=force)
    if json_output:
        print_json(written.document())
    else:
        typer.echo(written.text(width=10_000))
