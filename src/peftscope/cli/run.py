"""``peftscope run DIR``: one experiment folder in the layout of the public benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peftscope.cli import options
from peftscope.cli.output import show_warnings
from peftscope.cli.runs import Manner, Outcome, conclude, do_runs
from peftscope.schema.override import override
from peftscope.schema.run import RunSpec
from peftscope.schema.study import TaskSpec
from peftscope.tuning.start import Start
from peftscope.upstream.experiment import read_experiment, to_run_spec

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
    notes: list[str] = []
    spec, name = _spec_of(folder, model=model, data=data, test_data=test_data, seed=seed, notes=notes)
    spec = override(spec, settings or [])
    show_warnings(notes, quiet=quiet)
    place = out or Path("results") / name
    manner = Manner(
        workers=1, threads=threads, track=track, json_output=json_output, json_lines=json_lines, quiet=quiet
    )
    records, metric = do_runs([Start(run=spec)], place, title=name, manner=manner)
    conclude(Outcome(command="run", title=name, folder=place, records=records, metric=metric), manner)


def _spec_of(
    folder: Path,
    *,
    model: str | None,
    data: Path | None,
    test_data: Path | None,
    seed: int | None,
    notes: list[str],
) -> tuple[RunSpec, str]:
    from peftscope.methods.adapter_config import method_name

    experiment = read_experiment(folder)
    task = None
    if data is not None:
        options = {"source": "files", "train": str(data)} | ({"test": str(test_data)} if test_data else {})
        task = TaskSpec(name="math", options=options)
    elif test_data is not None:
        raise typer.BadParameter("needs --data with the training rows", param_hint="--test-data")
    spec = to_run_spec(
        experiment,
        method_name=method_name(experiment.peft_config, experiment.training_params),
        task=task,
        seed=seed,
        warn=notes.append,
    )
    if model is not None:  # dtype, quantization and attention stay the experiment's
        spec = spec.model_copy(update={"model": spec.model.model_copy(update={"source": model, "revision": None})})
    return spec, experiment.name.replace("/", "--")
