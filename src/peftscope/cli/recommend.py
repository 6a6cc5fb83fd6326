"""``peftscope recommend``: which method to take, under your limits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from peftscope.cli import options
from peftscope.cli.output import print_json, show_warnings

if TYPE_CHECKING:
    from peftscope.schema.request import Request

__all__ = ["recommend"]


def recommend(
    study: Annotated[Path, typer.Argument(help="A folder of results, or the study.yaml they were made from.")],
    max_memory: Annotated[str | None, typer.Option(help="Most memory at the peak of training, such as 12GB.")] = None,
    max_checkpoint: Annotated[str | None, typer.Option(help="Largest checkpoint, such as 50MB.")] = None,
    max_time: Annotated[str | None, typer.Option(help="Longest training, such as 30min.")] = None,
    max_latency: Annotated[str | None, typer.Option(help="Slowest decoding step at batch 1, such as 80ms.")] = None,
    max_forgetting: Annotated[str | None, typer.Option(help="Most forgetting, in nats per token.")] = None,
    keep_of_base: Annotated[
        str | None, typer.Option(help="Least of the base to keep, such as 95%: a limit on forgetting.")
    ] = None,
    most: Annotated[
        list[str] | None,
        typer.Option("--max", help="Most of any quantity with a limit, such as memory=12GB; may stand several times."),
    ] = None,
    min_score: Annotated[str | None, typer.Option(help="Least score, such as 0.4 or 40%; of a loss the most.")] = None,
    mergeable: Annotated[bool, typer.Option("--mergeable", help="Only what can be merged into the base.")] = False,
    quantizable: Annotated[bool, typer.Option("--quantizable", help="Only what trains on a quantized base.")] = False,
    servable: Annotated[
        list[str] | None,
        typer.Option(help="Only what vllm, llama.cpp or diffusers loads, once converted; may stand several times."),
    ] = None,
    prefer: Annotated[
        str,
        typer.Option(
            help="What to rank by: score, memory, checkpoint, time, forgetting, latency or any quantity with a limit; "
            "several by commas."
        ),
    ] = "score",
    margin: options.Margin = None,
    have: Annotated[
        str | None, typer.Option(help="Method you have; relatives of it are cheap to try. LoRA by default.")
    ] = None,
    confirm: Annotated[
        int | None, typer.Option(min=2, help="Then train the choice with so many fresh seeds; what they alone say.")
    ] = None,
    across: options.Across = False,
    json_output: options.Json = False,
) -> None:
    """Say which method to take, what is as good, and how sure that is.

    Limits filter, preferences rank. Exit code 0: a choice; 1: nothing satisfies the limits, or a choice and runs that
    failed or are still to do; 2: the request was wrong.
    """
    from peftscope.study.recommendation import recommend_from
    from peftscope.study.requirements import Requirements

    request = options.request("recommend")
    costs = _costs(
        {
            "memory": max_memory,
            "checkpoint": max_checkpoint,
            "time": max_time,
            "latency": max_latency,
            "forgetting": max_forgetting,
        },
        most or (),
        request,
    )
    requirements = Requirements(
        costs=costs,
        keep_of_base=keep_of_base,
        min_score=min_score,
        mergeable=mergeable,
        quantizable=quantizable,
        servable=servable or (),
        prefer=prefer,
        margin=margin,
        have=have,
    )
    with Console(stderr=True).status("reading results"):
        found = recommend_from(study, requirements, request, across=across)
    console = Console(highlight=False)
    if not json_output:
        console.print(found, crop=False)
        show_warnings(found.warnings)
    if confirm is not None and found.trains:
        found = found.confirm(confirm)
        if not json_output:
            console.print(found.confirmation(), crop=False)
    elif confirm is not None and not json_output:
        console.print("\n[bold]Nothing to confirm[/bold]\n  No method that is trained was chosen.")
    if json_output:
        print_json(found.document())
    if found.has_problems:
        raise typer.Exit(1)


def _costs(named: dict[str, str | None], others: Iterable[str], request: Request) -> dict[str, str]:
    """The most of each quantity: from options of their own, and from ``--max NAME=AMOUNT``."""
    costs = {name: given for name, given in named.items() if given is not None}
    for given in others:
        name, _, amount = (part.strip() for part in given.partition("="))
        if name in costs:
            request.note("max", f"{name} is limited more than once")
        costs[name] = amount
    return costs
