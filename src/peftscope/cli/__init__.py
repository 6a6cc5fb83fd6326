"""The command line: one file per command."""

from __future__ import annotations

import logging
import sys

import typer
from rich.console import Console

from peftscope.cli import (
    compare,
    export,
    import_results,
    init,
    methods,
    plan,
    recommend,
    report,
    rerun,
    run,
    show,
    status,
)
from peftscope.errors import PeftscopeError

__all__ = ["app", "main"]

INTERRUPTED = 130

app = typer.Typer(
    name="peftscope",
    help="Find the PEFT method that is best for your model, your data and your limits.",
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
app.command(name="methods")(methods.methods)
app.command(name="init")(init.init)
app.command(name="import-results")(import_results.import_results)
app.command(name="export")(export.export)


def main() -> None:
    """Entry point: exit code 0 done, 1 done with failures, 2 the request was wrong, 130 interrupted."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it asks for a package nobody here needs
    try:
        app()
    except PeftscopeError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), style="red", markup=False, highlight=False)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            Console(stderr=True).print("interrupted; the same command goes on where this one stopped", style="yellow")
        raise
