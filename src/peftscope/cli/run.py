"""``peftscope run DIR``: one experiment folder in the layout of the public benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peftscope.cli import options
from peftscope.cli.output import finish, reporter_for

__all__ = ["run"]


def run(
    folder: Annotated[Path, typer.Argument(help="Holds adapter_config.json, training_params.json or both.")],
    model: Annotated[str | None, typer.Option(help="Base model instead of the experiment's own.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Training rows (JSONL, CSV, Parquet) instead of MetaMathQA.")
    ] = None,
    test_data: Annotated[Path | None, typer.Option(help="Test rows; a part of --data by default.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed instead of the experiment's own.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, such as train.max_steps=10 or task.test_size=50."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for record and adapter; results/NAME by default.")] = None,
    threads: options.Threads = None,
    track: options.Track = None,
    json_output: options.Json = False,
    json_lines: options.JsonLines = False,
    quiet: options.Quiet = False,
) -> None:
    """Run one experiment folder of the public benchmark, on its own model and data or on yours."""
    reporter = reporter_for(json_output=json_output, json_lines=json_lines, quiet=quiet)
    if test_data is not None and data is None:
        raise typer.BadParameter("needs --data with the training rows", param_hint="--test-data")
    from peftscope.study.experiment import run_experiment
    from peftscope.study.running import RunOptions

    found = run_experiment(
        folder,
        model=model,
        data=data,
        test_data=test_data,
        seed=seed,
        settings=settings or [],
        out=out,
        options=RunOptions(workers=1, threads=threads, track=track),
        reporter=reporter,
    )
    finish(found, reporter, json_output=json_output, json_lines=json_lines)
