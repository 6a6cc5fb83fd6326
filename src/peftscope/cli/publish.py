"""``peftscope publish``: adapter, card and figures to the hub; results to the public benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peftscope.cli import options
from peftscope.cli.output import print_json, show

__all__ = ["publish"]

OF_HUB = ("to", "method", "model", "study", "private", "push")
"""Options that say nothing of results alone."""


def publish(
    adapter: Annotated[
        str,
        typer.Argument(
            help="A study: what it recommends; id of a run; or folder of an adapter, such as one that convert wrote."
        ),
    ],
    to: Annotated[str | None, typer.Option(help="Repository on the hub: USER/NAME.")] = None,
    method: Annotated[str | None, typer.Option(help="Of a study, in place of the one it recommends.")] = None,
    model: Annotated[str | None, typer.Option(help="Hub id of the base, where it is a folder here.")] = None,
    study: Annotated[
        Path | None, typer.Option(help="Where the run is; for a folder, the study whose figures go with it.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; under results/published by default.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Let nobody else see the repository.")] = False,
    push: Annotated[bool, typer.Option("--push", help="Upload; without, the folder is written and shown.")] = False,
    results: Annotated[
        bool,
        typer.Option("--results", help="Of a study, only what the PEFT benchmark takes by pull request; send nothing."),
    ] = False,
    json_output: options.Json = False,
) -> None:
    """Publish an adapter with its card and the figures of its study; without --push a dry run that sends nothing."""
    from peftscope.study.publication import contribute
    from peftscope.study.publication import publish as published

    request = options.request("publish")
    if results:
        given = (to, method, model, study, private or None, push or None)
        for name, value in zip(OF_HUB, given):
            if value is not None:
                request.note(name, "is of an adapter on the hub, and --results is of a pull request; leave one out")
        request.end()
        contributed = contribute(adapter, output)
        print_json(contributed.document()) if json_output else show(contributed)
        return
    if to is None:
        request.note("to", "say which repository of the hub, as USER/NAME; or give --results")
        request.end()
    assert to is not None
    found = published(
        adapter,
        to=to,
        method=method,
        model=model,
        study=study,
        output=output,
        private=private,
        push=push,
        request=request,
    )
    print_json(found.document()) if json_output else show(found)
