"""``peftscope status``: where a study stands, while it runs and after."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from peftscope.cli import options
from peftscope.cli.output import print_json
from peftscope.errors import SpecError
from peftscope.study.study import Study

__all__ = ["status"]

WATCH_PAUSE_S = 1.0


def status(
    study: Annotated[Path, typer.Argument(help="A study.yaml, or the folder of its results.")],
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until the study has ended.")] = False,
    json_output: options.Json = False,
) -> None:
    """Show where a study stands: what is done, under way, failed and still to do, and when it ends."""
    if watch and json_output:
        raise SpecError("--watch, --json", ["--json prints one document; give one of them"])
    opened = Study.find(study, needs_records=False)
    console = Console(highlight=False)
    found = opened.status()
    if watch:
        with Live(found, console=console, auto_refresh=False, vertical_overflow="crop") as live:
            try:
                while found.is_running:
                    time.sleep(WATCH_PAUSE_S)
                    found = opened.status(height=console.height)
                    live.update(found, refresh=True)
            except KeyboardInterrupt:  # the study goes on; only the looking ends
                pass
            found = opened.status()
            live.update(found, refresh=True)
    elif json_output:
        print_json(found.document())
    else:
        console.print(found)
    if found.has_failures:
        raise typer.Exit(1)
