"""``peftscope interpolate``: less of an adapter, for less forgetting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peftscope.cli import options
from peftscope.cli.output import print_json, show, show_warnings
from peftscope.views.shown import stderr_console

__all__ = ["interpolate"]


def interpolate(
    study: Annotated[Path, typer.Argument(help="A folder of results, or the study.yaml they were made from.")],
    method: Annotated[str | None, typer.Option(help="Method of the study; what is recommended by default.")] = None,
    strengths: Annotated[
        str, typer.Option(help="Shares of the adapter's change, from 0 (the base) to 1 (the adapter).")
    ] = "0,0.25,0.5,0.75,1",
    keep: Annotated[str, typer.Option(help="Share of the gain that is to be kept, such as 90%.")] = "90%",
    json_output: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a method's adapters between base and adapter: how much gain is left, and how much less is forgotten.

    The strength is chosen on validation and reported on the test split. What is measured stays in the study's folder; a
    second call measures what is missing. Exit code 1: some adapters are not kept, or an end of the curve is not what
    the records say.
    """
    from peftscope.study.interpolation import interpolate as interpolated

    console = stderr_console(quiet=quiet or json_output)
    with console.status("interpolate") as status:
        found = interpolated(
            study,
            options.request("interpolate"),
            method=method,
            strengths=strengths,
            keep=keep,
            told=lambda line: status.update(f"interpolate: {line}"),
        )
    if json_output:
        print_json(found.document())
    else:
        show(found)
        show_warnings(found.results.notes, quiet=quiet)
    if found.has_problems:
        raise typer.Exit(1)
