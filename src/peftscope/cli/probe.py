"""``peftscope probe``: what methods can do, by doing it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from peftscope.cli import options
from peftscope.cli.output import print_json, show_warnings
from peftscope.views.shown import stderr_console

__all__ = ["probe"]


def probe(
    methods: Annotated[
        list[str] | None,
        typer.Argument(help="Names; 'all' for every one. With --model one per peft type by default.", metavar="METHOD"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Try them on a small model like this one: hub id, folder, config.json or builtin:NAME."),
    ] = None,
    capability: Annotated[str | None, typer.Option(help="Only these, with commas, such as merge,nf4.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
    json_output: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say what methods can do: merge, train on a quantized base, be converted, served, swapped, on which layers.

    Without a model it shows the table that ships, made by trying every method on small models of every sort.
    """
    from peftscope.study.probing import probe as probed

    console = stderr_console(quiet=quiet or json_output)
    with console.status("probe") as status:
        found = probed(
            model,
            "all" if methods == ["all"] else methods,
            capabilities=capability,
            revision=revision,
            request=options.request("probe"),
            told=lambda line: status.update(f"probe: {line}"),
        )
    if json_output:
        print_json(found.document())
    else:
        Console(highlight=False).print(found, crop=False)
        show_warnings(found.warnings, quiet=quiet)
