"""What commands print: a result or its JSON document, events line by line, notes on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, RenderableType

from peftscope.errors import PeftscopeError, SpecError
from peftscope.views.documents import json_text
from peftscope.views.shown import stderr_console

if TYPE_CHECKING:
    from peftscope.study.comparison import Comparison
    from peftscope.views.progress.reporter import Reporter

__all__ = ["error_document", "finish", "print_json", "reporter_for", "show", "show_warnings"]


def print_json(document: Mapping[str, Any]) -> None:
    """Print a command's one document: ``{"schema": "peftscope.<command>/1", ...}``."""
    print(json_text(document))


def show(found: RenderableType) -> None:
    """Print a command's result: broken between words on a terminal, in whole lines into a pipe."""
    console = Console(highlight=False)
    console.print(found, soft_wrap=not console.is_terminal, crop=False)


def error_document(error: PeftscopeError) -> dict[str, Any]:
    """What a command prints with ``--json`` in place of its document: what kind of error, where, and each problem."""
    problems = list(error.problems) if isinstance(error, SpecError) else [str(error)]
    source = error.source if isinstance(error, SpecError) else None
    return {"schema": "peftscope.error/1", "error": type(error).__name__, "source": source, "problems": problems}


def show_warnings(lines: Iterable[str], *, quiet: bool = False) -> None:
    """Print warnings on stderr, each once."""
    console = stderr_console(quiet=quiet)
    for line in dict.fromkeys(lines):
        console.print(f"note: {line}", style="yellow", markup=False)


def reporter_for(*, json_output: bool, json_lines: bool, quiet: bool) -> Reporter:
    """Who shows how runs get on.

    Raises:
        SpecError: Two things would be printed to the same place.
    """
    if json_output and json_lines:
        raise SpecError("--json, --json-lines", ["both print to the same place; give one of them"])
    from peftscope.views.progress.events import print_events
    from peftscope.views.progress.reporter import Reporter

    return Reporter(quiet=quiet, progress=not json_lines, on_event=print_events() if json_lines else None)


def finish(found: Comparison, reporter: Reporter, *, json_output: bool, json_lines: bool) -> None:
    """Print what runs came to, and leave with 1 where one failed.

    Raises:
        typer.Exit: A run failed, or a method was left without a final run.
    """
    if json_output:
        print_json(found.document())
    elif json_lines:
        from peftscope.views.progress.events import print_events

        document = found.document()
        print_events()({"event": "summary", "summary": document["summary"], "conditions": document["conditions"]})
    else:
        show(found)
        show_warnings(line for line in found.warnings if line not in reporter.told)
    if found.has_failures:
        raise typer.Exit(1)
