"""The command line: one file per command."""

from __future__ import annotations

import io
import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from peftscope.cli import (
    compare,
    convert,
    explore,
    export,
    import_results,
    init,
    interpolate,
    methods,
    plan,
    probe,
    publish,
    recommend,
    report,
    rerun,
    run,
    show,
    status,
)
from peftscope.cli.output import error_document, print_json
from peftscope.errors import PeftscopeError
from peftscope.views.line import printable
from peftscope.views.shown import stderr_console

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    name="peftscope",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(name="plan")(plan.plan)
app.command(name="compare")(compare.compare)
app.command(name="run")(run.run)
app.command(name="status")(status.status)
app.command(name="show")(show.show)
app.command(name="rerun")(rerun.rerun)
app.command(name="recommend")(recommend.recommend)
app.command(name="report")(report.report)
app.command(name="explore")(explore.explore)
app.command(name="interpolate")(interpolate.interpolate)
app.command(name="convert")(convert.convert)
app.command(name="publish")(publish.publish)
app.command(name="methods")(methods.methods)
app.command(name="probe")(probe.probe)
app.command(name="init")(init.init)
app.command(name="import-results")(import_results.import_results)
app.command(name="export")(export.export)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"peftscope {version('peftscope')}")
        raise typer.Exit


@app.callback()
def _peftscope(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Find the PEFT method that is best for your model, your data and your limits."""


def main() -> None:
    """Entry point: exit code 0 done, 1 done with failures, 2 the request was wrong, 130 interrupted."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it asks for a package nobody here needs
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows a ? and the rest
    try:
        app()
    except PeftscopeError as error:
        if "--json" in sys.argv:
            print_json(error_document(error))
        lines = "\n".join(map(printable, str(error).splitlines()))  # others' names may stand in it
        stderr_console().print(lines, style="red", markup=False)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            Console(stderr=True).print("interrupted; the same command goes on where this one stopped", style="yellow")
        raise
