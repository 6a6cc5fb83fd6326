"""``peftscope plan``: what fits, before anything is downloaded or run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.console import Console

from peftscope.cli import options
from peftscope.cli.amounts import bytes_of
from peftscope.cli.output import print_json, show_warnings
from peftscope.cli.questions import Given, about_experiments, about_methods, about_study
from peftscope.cli.request import Request
from peftscope.footprint.footprint import DEFAULT_LENGTH
from peftscope.schema.study import TrainSpec
from peftscope.views.footprints import footprint_table

if TYPE_CHECKING:
    from peftscope.footprint.footprint import Forecast
    from peftscope.footprint.question import Question

    Answer = tuple[Question, Forecast]

__all__ = ["plan"]

DTYPES = ("bfloat16", "float16", "float32")
SHORT = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


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
        int | None,
        typer.Option(min=2, help=f"Tokens in the longest sequence, or an image's pixels; {DEFAULT_LENGTH} by default."),
    ] = None,
    eval_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Sequences answered at once in scoring; the batch size by default.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of the weights: bf16 (default), fp16 or fp32 (default on a CPU).")
    ] = None,
    quantization: Annotated[str | None, typer.Option(help="Of the base: nf4 or int8.")] = None,
    optimizer: Annotated[
        str, typer.Option(help="adamw, adamw-8bit, sgd or adafactor; techniques with one of their own keep it.")
    ] = "adamw",
    memory: Annotated[str, typer.Option(help="Memory setting of the training loop: plain.")] = "plain",
    checkpointing: Annotated[
        bool | None, typer.Option("--checkpointing/--no-checkpointing", help="Recompute activations.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="accelerator (what its allocator reserves) or cpu (what the process holds).")
    ] = "accelerator",
    tflops: Annotated[
        float | None, typer.Option(min=0.001, help="What the device does of 10¹² operations a second; gives times.")
    ] = None,
    max_memory: Annotated[str | None, typer.Option(help="What there is, such as 12GB.")] = None,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Predict parameters, checkpoint and peak memory of techniques on a model, from its config alone."""
    from peftscope.execution.executors.forking import warm_up
    from peftscope.methods.optimizers import GENERAL

    request = Request("peftscope plan")
    limit = request.amount("--max-memory", max_memory, bytes_of)
    request.check("--device", "device", device, ("accelerator", "cpu"))
    kind = None if dtype is None else SHORT.get(dtype, dtype)
    request.check("--dtype", "dtype", kind or DTYPES[0], (*DTYPES, *SHORT))
    request.check("--quantization", "quantization", quantization or "nf4", ("nf4", "int8"))
    request.check("--optimizer", "optimizer", optimizer, GENERAL)
    request.check("--memory", "memory setting", memory, get_args(TrainSpec.model_fields["memory"].annotation))
    if sum(given is not None for given in (study, methods, experiments)) > 1:
        request.problems.append("give a study, --methods or --experiments, not several of them")
    names = _names(methods, request)
    if model is None and study is None and experiments is None:
        request.problems.append("--model: which base? A hub id, a folder, or the path of a config.json")
    request.end()
    if len(names) != 1:
        warm_up()  # imports what counting needs while this process imports what asking needs
    given = Given(
        model=model,
        batch_size=batch_size,
        length=seq_len,
        eval_batch_size=eval_batch_size,
        dtype=kind,  # type: ignore[arg-type]  # checked above
        quantization=quantization,  # type: ignore[arg-type]
        checkpointing=checkpointing,
        optimizer=optimizer,
        target="cpu" if device == "cpu" else "accelerator",
    )
    if study is not None:
        questions = about_study(study, given)
    else:
        questions = about_methods(names, given) if experiments is None else about_experiments(experiments, given)
    found = _count(questions, None if limit is None else int(limit), quiet=quiet)
    if json_output:
        print_json("plan", _document(found, limit, tflops))
    else:
        _print(found, limit, tflops)
    if all(forecast.footprint.peak_bytes is None for _, forecast in found):
        raise typer.Exit(1)


def _names(methods: str | None, request: Request) -> list[str]:
    """Methods by name: those asked for, all, or one per ``peft`` type."""
    from peftscope.methods.catalog import BASE, cards

    if methods is None or methods == "all":
        own = [card for card in cards().values() if card.name != BASE]
        return [card.name for card in own if methods == "all" or card.variant_of is None]
    names = request.names("--methods", "method", methods, cards())
    if not names:
        request.problems.append("--methods: nothing given")
    return names


def _count(questions: Sequence[Question], limit: int | None, *, quiet: bool) -> list[Answer]:
    """Forecasts, smallest first."""
    from joblib import cpu_count

    from peftscope.execution.executors.forking import warm_up
    from peftscope.footprint.forecast import forecasts

    found = []
    console = Console(stderr=True, quiet=quiet)
    with console.status("counting") as status:
        answers = forecasts(questions, limit=limit, workers=min(cpu_count(), len(questions)), context=warm_up())
        for question, forecast in zip(questions, answers, strict=True):
            found.append((question, forecast))
            status.update(f"counting: {len(found)} of {len(questions)}")
    return sorted(found, key=_size)


def _size(answer: Answer) -> tuple[bool, int]:
    peak = answer[1].footprint.peak_bytes
    return peak is None, peak or 0


def _document(found: Sequence[Answer], limit: float | None, tflops: float | None) -> dict[str, Any]:
    return {
        "max_memory_bytes": None if limit is None else int(limit),
        "tflops": tflops,
        "techniques": [_entry(question, forecast, tflops) for question, forecast in found],
    }


def _entry(question: Question, forecast: Forecast, tflops: float | None) -> dict[str, Any]:
    found, load = forecast.footprint, question.workload
    return {
        "name": found.technique,
        "experiment": found.experiment,
        "base": question.subject.described(),
        "device": load.target,
        "batch_size": load.batch_size,
        "seq_len": load.length,
        "checkpointing": load.train.checkpointing,
        "trainable_params": found.num_trainable_params,
        "total_params": found.num_total_params,
        "checkpoint_bytes": found.checkpoint_bytes,
        "checkpoint_least_bytes": found.checkpoint_least_bytes,
        "peak_train_bytes": found.peak_train_bytes,
        "live_train_bytes": found.live_train_bytes,
        "peak_eval_bytes": found.peak_eval_bytes,
        "breakdown": None if found.breakdown is None else vars(found.breakdown),
        "eval_breakdown": None if found.eval_breakdown is None else vars(found.eval_breakdown),
        "flops_per_step": found.flops_per_step,
        "step_time_s": found.step_time_s(tflops),
        "fits": forecast.fits,
        "largest_batch": forecast.largest_batch,
        "largest_seq_len": forecast.largest_length,
        "peak_with_checkpointing_bytes": forecast.checkpointed_bytes,
        "layers_counted": found.layers_counted,
        "notes": list(found.notes),
        "reason": found.reason,
    }


def _print(found: Sequence[Answer], limit: float | None, tflops: float | None) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for line in sorted({question.described() for question, _ in found}):
        console.print(line, style="bold", markup=False)
    table = footprint_table([forecast for _, forecast in found], limit=limit, tflops=tflops)
    Console(width=None if console.is_terminal else 140).print(table)
    for _, forecast in found:
        told = forecast.footprint
        if told.reason is not None:
            name = told.experiment or told.technique
            console.print(f"{name}: {told.reason.removeprefix(f'{name}: ')}", style="dim", markup=False)
    show_warnings(note for _, forecast in found for note in forecast.footprint.notes)
