"""``peftscope plan``: what fits, before anything is downloaded or run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from peftscope.cli import options
from peftscope.cli.amounts import bytes_of
from peftscope.cli.output import print_json, show_warnings
from peftscope.cli.request import Request
from peftscope.spec.study import MethodSpec, TrainSpec
from peftscope.views.units import bytes_text, count_text

if TYPE_CHECKING:
    from peftscope.plan.footprint import Technique
    from peftscope.plan.forecast import Forecast

__all__ = ["plan"]

DTYPES = ("bfloat16", "float16", "float32")
SHORT = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
DEFAULT_LENGTH = 512


def plan(
    study: Annotated[
        Path | None, typer.Argument(help="A study, whose model, techniques and training are asked about.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Hub id, model folder, config.json, GGUF file or builtin:NAME.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Names, with commas; 'all' for variants, too. By default one per peft type."),
    ] = None,
    experiments: Annotated[
        Path | None, typer.Option(help="A folder with experiment folders of the public benchmark in it.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Samples in a micro-batch; 4 by default.")] = None,
    seq_len: Annotated[
        int | None, typer.Option(min=2, help=f"Tokens in the longest sequence; {DEFAULT_LENGTH} by default.")
    ] = None,
    eval_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Sequences answered at once in scoring; the batch size by default.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Of the weights: bf16 (default), fp16 or fp32.")] = None,
    checkpointing: Annotated[
        bool | None, typer.Option("--checkpointing/--no-checkpointing", help="Recompute activations.")
    ] = None,
    device: Annotated[str, typer.Option(help="accelerator (what its allocator reserves) or cpu.")] = "accelerator",
    max_memory: Annotated[str | None, typer.Option(help="What there is, such as 12GB.")] = None,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Predict parameters, checkpoint and peak memory of techniques on a model, from its config alone."""
    request = Request("peftscope plan")
    limit = request.amount("--max-memory", max_memory, bytes_of)
    request.check("--device", "device", device, ("accelerator", "cpu"))
    kind = SHORT.get(dtype or "", dtype or "bfloat16")
    request.check("--dtype", "dtype", kind, (*DTYPES, *SHORT))
    if sum(given is not None for given in (study, methods, experiments)) > 1:
        request.problems.append("give a study, --methods or --experiments, not several of them")
    asked, source, train = _asked(study, methods, experiments, request)
    source = model or source
    if source is None:
        request.problems.append("--model: which base? A hub id, a folder, or the path of a config.json")
    request.end()
    assert source is not None
    update = {
        "batch_size": batch_size or (train.batch_size if study else 4),
        "max_length": seq_len or (train.max_length if study else DEFAULT_LENGTH),
        "checkpointing": train.checkpointing if checkpointing is None else checkpointing,
    }
    train = train.model_copy(update=update)
    _predict(
        asked,
        source=source,
        train=train,
        dtype=kind,
        device="cpu" if device == "cpu" else "accelerator",
        eval_batch_size=eval_batch_size,
        limit=None if limit is None else int(limit),
        json_output=json_output,
        quiet=quiet,
    )


def _asked(
    study: Path | None, methods: str | None, experiments: Path | None, request: Request
) -> tuple[list[Technique], str | None, TrainSpec]:
    """Techniques, the model they name, and how they are trained."""
    from peftscope.methods.catalog import BASE, cards
    from peftscope.plan.footprint import Technique

    if study is not None:
        from peftscope.cli.vocabulary import vocabulary
        from peftscope.spec.reader import read_study

        spec = read_study(study, vocabulary())
        return [Technique(method=method) for method in spec.methods], spec.model.source, spec.train
    if experiments is not None:
        return _experiments(experiments, request.problems)
    names = [
        card.name
        for card in cards().values()
        if card.name != BASE and (methods == "all" or (card.variant_of is None and methods is None))
    ]
    if methods is not None and methods != "all":
        names = request.names("--methods", "method", methods, cards())
        if not names:
            request.problems.append("--methods: nothing given")
    return [Technique(method=MethodSpec(name=name)) for name in names], None, TrainSpec()


def _experiments(folder: Path, problems: list[str]) -> tuple[list[Technique], str | None, TrainSpec]:
    from peftscope.methods.published import method_name
    from peftscope.plan.footprint import Technique
    from peftscope.spec.experiment import read_experiment, to_run_spec

    inside = {file.parent for name in ("adapter_config.json", "training_params.json") for file in folder.rglob(name)}
    asked, source, train = [], None, TrainSpec()
    for place in sorted(inside):
        experiment = read_experiment(place)
        if experiment.benchmark != "MetaMathQA":
            problems.append(f"--experiments: {experiment.name} is of the image benchmark, which is not predicted yet")
            break
        name = method_name(experiment.peft_config, experiment.training_params)
        run = to_run_spec(experiment, method_name=name)
        asked.append(Technique(method=run.method, experiment=experiment.name))
        source, train = run.model.source, run.train
    if not inside:
        problems.append(f"--experiments: no experiment folder in {folder}")
    return asked, source, train


def _predict(
    asked: Sequence[Technique],
    *,
    source: str,
    train: TrainSpec,
    dtype: str,
    device: Literal["accelerator", "cpu"],
    eval_batch_size: int | None,
    limit: int | None,
    json_output: bool,
    quiet: bool,
) -> None:
    import torch
    from joblib import cpu_count

    from peftscope.models.empty import read_config
    from peftscope.plan.footprint import Workload
    from peftscope.plan.forecast import forecasts
    from peftscope.plan.subject import TextSubject

    subject = TextSubject(config=read_config(source), dtype=getattr(torch, dtype))
    subject.base()  # a config no model can be built from is said once, not for every technique
    workload = Workload(
        batch_size=train.batch_size,
        length=train.max_length,
        train=train,
        target=device,
        eval_batch_size=eval_batch_size,
    )
    found = []
    console = Console(stderr=True, quiet=quiet)
    with console.status("counting") as status:
        for forecast in forecasts(asked, subject, workload, limit=limit, workers=min(cpu_count(), len(asked))):
            found.append(forecast)
            status.update(f"counting: {len(found)} of {len(asked)}")
    found.sort(key=lambda f: (f.footprint.peak_bytes is None, f.footprint.peak_bytes or 0))
    if json_output:
        document = {
            "model": source,
            "dtype": dtype,
            "device": device,
            "batch_size": train.batch_size,
            "seq_len": train.max_length,
            "checkpointing": train.checkpointing,
            "max_memory_bytes": limit,
            "techniques": [_plain(forecast) for forecast in found],
        }
        print_json("plan", document)
    else:
        _print(found, source, f"{dtype}, batch {train.batch_size} × {train.max_length} tokens, {device}", limit)
    if all(forecast.footprint.peak_bytes is None for forecast in found):
        raise typer.Exit(1)


def _plain(forecast: Forecast) -> dict[str, Any]:
    found = forecast.footprint
    return {
        "name": found.technique,
        "experiment": found.experiment,
        "trainable_params": found.num_trainable_params,
        "total_params": found.num_total_params,
        "checkpoint_bytes": found.checkpoint_bytes,
        "checkpoint_least_bytes": found.checkpoint_least_bytes,
        "peak_train_bytes": found.peak_train_bytes,
        "live_train_bytes": found.live_train_bytes,
        "peak_eval_bytes": found.peak_eval_bytes,
        "breakdown": None if found.breakdown is None else vars(found.breakdown),
        "flops_per_step": found.flops_per_step,
        "fits": forecast.fits,
        "largest_batch": forecast.largest_batch,
        "peak_train_bytes_with_checkpointing": forecast.checkpointed_bytes,
        "notes": list(found.notes),
        "reason": found.reason,
    }


def _print(found: Sequence[Forecast], source: str, circumstances: str, limit: int | None) -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{source}: {circumstances}", style="bold", markup=False)
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for heading in ("trained", "file", "train mem", "activations", "logits", "eval mem", "TFLOP/step"):
        table.add_column(heading, justify="right", no_wrap=True)
    if limit is not None:
        table.add_column(f"fits {bytes_text(limit)}", no_wrap=True)
    for forecast in found:
        if forecast.footprint.peak_bytes is not None:
            table.add_row(*_cells(forecast, limit))
    Console(width=None if console.is_terminal else 120).print(table)
    for forecast in found:
        if forecast.footprint.reason is not None:
            name = forecast.footprint.experiment or forecast.footprint.technique
            console.print(f"{name}: {forecast.footprint.reason}", style="dim", markup=False)
    show_warnings(note for forecast in found for note in forecast.footprint.notes)


def _cells(forecast: Forecast, limit: int | None) -> list[str]:
    found = forecast.footprint
    parts = found.breakdown
    cells = [
        found.experiment or found.technique,
        count_text(found.num_trainable_params),
        bytes_text(found.checkpoint_bytes),
        bytes_text(found.peak_train_bytes),
        bytes_text(parts.activations if parts else None),
        bytes_text(parts.logits if parts else None),
        bytes_text(found.peak_eval_bytes),
        "–" if found.flops_per_step is None else f"{found.flops_per_step / 1e12:.3g}",
    ]
    return cells if limit is None else [*cells, _verdict(forecast, limit)]


def _verdict(forecast: Forecast, limit: int) -> str:
    if forecast.fits is not False:
        return "yes" if forecast.fits else "–"
    ways = []
    if forecast.largest_batch:
        ways.append(f"batch {forecast.largest_batch}")
    if forecast.checkpointed_bytes is not None and forecast.checkpointed_bytes <= limit:
        ways.append("checkpointing")
    return f"no; with {' or '.join(ways)}" if ways else "no"
