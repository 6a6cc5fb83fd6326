"""``peftscope init``: a commented study to start from, drafted for the user's data where they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peftscope.cli.output import print_json, show
from peftscope.errors import SpecError
from peftscope.views.shown import Shown

__all__ = ["init"]


def init(
    path: Annotated[Path | None, typer.Argument(help="Where to write; study.yaml, or named after the data.")] = None,
    data: Annotated[str | None, typer.Option(help="File, folder or hub id of the data to look at.")] = None,
    model: Annotated[str | None, typer.Option(help="The base model, with --data.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Write a commented study: for your data, after a look at them, or one to change by hand."""
    if data is None:
        if model is not None:
            raise SpecError("init", ["--model is used with --data; without it, edit the model in the file"])
        from peftscope.study.template import write_template

        written: Shown = write_template(path or Path("study.yaml"), force=force)
    else:
        from peftscope.study.study import Study

        written = Study.draft(data, model=model).write(path, force=force)
    if json_output:
        print_json(written.document())
    else:
        show(written)
