"""``peftscope convert``: an adapter of any method -> a LoRA that every server loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from peftscope.cli import options
from peftscope.cli.output import print_json, show
from peftscope.views.shown import stderr_console

__all__ = ["convert"]


def convert(
    adapter: Annotated[
        str,
        typer.Argument(help="Folder or hub id of an adapter, id of a run, or a study: what it recommends."),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder to make for the LoRA.")] = None,
    model: Annotated[str | None, typer.Option(help="The base, where the adapter's config names another.")] = None,
    study: Annotated[Path | None, typer.Option(help="Where the run is; all under results/ by default.")] = None,
    task: Annotated[
        Path | None, typer.Option(help="For an adapter of others: a study file, whose task it is scored by.")
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the LoRA; 64 by default.")] = None,
    energy: Annotated[float | None, typer.Option(help="Least rank that holds this share of all changes.")] = None,
    max_error: Annotated[
        float | None, typer.Option(help="Least rank whose outputs miss no more of the adapter's effect.")
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Share the rank out over weights, more where it cuts the error most.")
    ] = False,
    refine: Annotated[int, typer.Option(help="Steps of distillation against the original, on calibration data.")] = 0,
    strength: Annotated[
        float, typer.Option(help="Share of the adapter's change to take, such as 'peftscope interpolate' says.")
    ] = 1.0,
    format: Annotated[
        Literal["peft", "vllm", "gguf", "diffusers", "kohya", "comfy", "merged", "merged-gguf"],
        typer.Option(help="What is to load it; merged: the whole model."),
    ] = "peft",
    tolerance: Annotated[
        float | None,
        typer.Option(help="Error of outputs up to which it stands for the adapter, 0.1; beyond, exit code 1."),
    ] = None,
    margin: options.Margin = None,
    score: Annotated[
        bool, typer.Option("--score/--no-score", help="Score the test examples of a run's task again.")
    ] = True,
    calibration: Annotated[
        Path | None, typer.Option(help="Text like what the model will read; half of it is kept to compare on.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what memory and time it will take, and stop.")] = False,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Convert an adapter into a plain LoRA, load it onto the base again and say how far it is from the original."""
    from peftscope.study.conversion import convert as converted

    request = options.request("convert")
    if plan:
        from peftscope.study.conversion_plan import plan_conversion

        if format.startswith("merged") or refine:
            request.note("plan", "is of a conversion to factors, without refining; leave the other out")
        planned = plan_conversion(
            adapter,
            model=model,
            study=study,
            rank=rank,
            energy=energy,
            max_error=max_error,
            shared=shared,
            request=request,
        )
        print_json(planned.document()) if json_output else show(planned)
        return
    if output is None:
        request.note("output", "say which folder to make")
        request.end()
    assert output is not None
    console = stderr_console(quiet=quiet or json_output)
    with console.status("convert") as status:
        found = converted(
            adapter,
            output,
            model=model,
            study=study,
            task=task,
            rank=rank,
            energy=energy,
            max_error=max_error,
            shared=shared,
            refine=refine,
            strength=strength,
            format=format,
            tolerance=tolerance,
            margin=margin,
            score=score,
            calibration=calibration,
            request=request,
            told=lambda line: status.update(f"convert: {line}"),
        )
    if json_output:
        print_json(found.document())
    else:
        show(found)
    if not found.stands:
        raise typer.Exit(1)
