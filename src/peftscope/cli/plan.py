"""``peftscope plan``: what fits, before anything is downloaded or run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from peftscope.cli import options
from peftscope.cli.output import print_json, show_warnings

__all__ = ["plan"]


def plan(
    study: Annotated[
        Path | None, typer.Argument(help="A study, whose model, methods and training are asked about.")
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
        typer.Option(min=2, help="Tokens in the longest sequence, or an image's pixels; 512 by default."),
    ] = None,
    eval_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Sequences answered at once in scoring; the batch size by default.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of the weights: bf16 (default), fp16 or fp32 (default on a CPU).")
    ] = None,
    quantization: Annotated[str | None, typer.Option(help="Of the base: nf4 or int8.")] = None,
    optimizer: Annotated[
        str, typer.Option(help="adamw, adamw-8bit, sgd or adafactor; methods with one of their own keep it.")
    ] = "adamw",
    memory: Annotated[
        str | None, typer.Option(help="Memory setting of the training: plain (default), fast, lean or minimal.")
    ] = None,
    checkpointing: Annotated[
        bool | None, typer.Option("--checkpointing/--no-checkpointing", help="Recompute activations.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="accelerator (what its allocator reserves) or cpu (what the process holds).")
    ] = "accelerator",
    tflops: Annotated[
        float | None, typer.Option(min=0.001, help="What the device does of 10¹² operations a second; gives times.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="What there is: 12GB, 24GiB, or a card such as rtx-4090.")
    ] = None,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Predict parameters, checkpoint and peak memory of methods on a model, from its config alone."""
    # Imported late, as in every command: what computes takes seconds to import.
    from peftscope.study.footprints import WIDE, FootprintRequest, predict

    asked = FootprintRequest(
        model=model,
        methods=methods,
        study=study,
        experiments=experiments,
        batch_size=batch_size,
        seq_len=seq_len,
        eval_batch_size=eval_batch_size,
        dtype=dtype,
        quantization=quantization,
        optimizer=optimizer,
        memory=memory,
        checkpointing=checkpointing,
        device=device,
        tflops=tflops,
        max_memory=max_memory,
    )
    found = predict(asked, options.request("peftscope plan"), quiet=quiet)
    if json_output:
        print_json(found.document())
    else:
        console = Console(highlight=False)
        console = console if console.is_terminal else Console(highlight=False, width=WIDE)
        console.print(found, soft_wrap=True)
        show_warnings(found.warnings)
    if found.is_empty:
        raise typer.Exit(1)
