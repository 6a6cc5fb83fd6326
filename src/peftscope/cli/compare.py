"""``peftscope compare``: every technique under the same conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peftscope.cli import options
from peftscope.cli.runs import Manner, Outcome, conclude, do_runs
from peftscope.cli.vocabulary import vocabulary
from peftscope.schema.reader import read_study

__all__ = ["compare"]


def compare(
    study: Annotated[Path, typer.Argument(help="A study.yaml; 'peftscope init' writes one to start from.")],
    out: Annotated[Path | None, typer.Option(help="Folder for records and adapters; results/NAME by default.")] = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    executor: options.Executor = "local",
    try_all: Annotated[bool, typer.Option("--try-all", help="Try what is predicted not to fit, too.")] = False,
    track: options.Track = None,
    across: options.Across = False,
    json_output: options.Json = False,
    json_lines: options.JsonLines = False,
    quiet: options.Quiet = False,
) -> None:
    """Train and score every technique of a study under the same conditions; a second call finishes what is missing."""
    spec = read_study(study, vocabulary())
    folder = out or Path("results") / spec.name
    manner = Manner(
        workers=workers,
        threads=threads,
        executor=executor,
        track=track,
        json_output=json_output,
        json_lines=json_lines,
        quiet=quiet,
        try_all=try_all,
    )
    records, metric = do_runs(spec, folder, title=spec.name, manner=manner)
    outcome = Outcome(command="compare", title=spec.name, folder=folder, records=records, metric=metric, study=spec)
    conclude(outcome, manner, across=across)
