"""``peftscope report``: a study as one page, its main plots as pictures, its tables as files."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from peftscope.cli import options
from peftscope.cli.output import print_json, show, show_warnings

__all__ = ["report"]


def report(
    study: Annotated[Path, typer.Argument(help="A study.yaml, or a folder of results.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the files; report in the study's by default.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    margin: options.Margin = None,
    across: options.Across = False,
    json_output: options.Json = False,
) -> None:
    """Write a study's report: one page that works offline, its plots as pictures, its tables as files."""
    with Console(stderr=True).status("computing and drawing"):
        from peftscope.study.report import report_of

        found = report_of(study, out, options.request("report"), margin=margin, across=across)
    if json_output:
        print_json(found.document())
    else:
        show(found)
        show_warnings(found.warnings)
    page = found.page.resolve()
    if open_page and not webbrowser.open(page.as_uri()):
        show_warnings([f"no browser could be opened; the page is {page}"])
