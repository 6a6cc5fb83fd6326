"""``peftscope compare``: every method under the same conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peftscope.cli import options
from peftscope.cli.output import finish, reporter_for
from peftscope.study.study import Study

__all__ = ["compare"]


def compare(
    study: Annotated[Path, typer.Argument(help="A study.yaml; 'peftscope init' writes one to start from.")],
    out: Annotated[Path | None, typer.Option(help="Folder for records and adapters; results/NAME by default.")] = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    executor: options.Executor = "local",
    try_all: Annotated[bool, typer.Option("--try-all", help="Try what is predicted not to fit, too.")] = False,
    no_race: Annotated[
        bool, typer.Option("--no-race", help="Train every method with every seed, also those detectably dominated.")
    ] = False,
    track: options.Track = None,
    across: options.Across = False,
    json_output: options.Json = False,
    json_lines: options.JsonLines = False,
    quiet: options.Quiet = False,
) -> None:
    """Train and score every method of a study under the same conditions; a second call finishes what is missing."""
    opened = Study.load(study, out=out)
    reporter = reporter_for(json_output=json_output, json_lines=json_lines, quiet=quiet)
    from peftscope.study.running import RunOptions

    run_options = RunOptions(
        workers=workers, threads=threads, executor=executor, track=track, try_all=try_all, race=not no_race
    )
    found = opened.run_with(run_options, reporter, across=across)
    finish(found, reporter, json_output=json_output, json_lines=json_lines)
