"""``peftscope init``: a commented study to start from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from peftscope.cli.output import print_json
from peftscope.errors import SpecError
from peftscope.store.files import ensure_folder, write_text

__all__ = ["init"]


def init(
    path: Annotated[Path, typer.Argument(help="Where to write the study.")] = Path("study.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a line.")] = False,
) -> None:
    """Write a commented study.yaml: change model, data and methods in it, then run 'peftscope compare'."""
    if path.exists() and not force:
        raise SpecError(str(path), ["is there already; give another name or --force"])
    ensure_folder(path.parent)
    write_text(path, (files("peftscope.cli") / "study.yaml").read_text(encoding="utf-8"))
    if json_output:
        print_json("init", {"path": str(path)})
    else:
        typer.echo(f"wrote {path}; edit it, then: peftscope compare {path}")
