"""``peftscope methods``: every method there is, and what we know of it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from peftscope.cli import options
from peftscope.cli.output import print_json

__all__ = ["methods"]


def methods(
    name: Annotated[str | None, typer.Argument(help="A method, to see its whole card.")] = None,
    family: Annotated[str | None, typer.Option(help="Only methods of this family.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """List every method, or show one card: what it is, its settings, its learning rate and where that is from."""
    from peftscope.study.method_list import methods_of

    found = methods_of(name, options.request("methods"), family=family)
    if json_output:
        print_json(found.document())
    else:
        Console(highlight=False).print(found, crop=False)
