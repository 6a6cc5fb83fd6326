"""Options that several commands share, with one help text each."""

from __future__ import annotations

from typing import Annotated

import typer

from peftscope.schema.request import Request

__all__ = ["Across", "Executor", "Json", "JsonLines", "Margin", "Quiet", "Threads", "Track", "Workers", "request"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
JsonLines = Annotated[bool, typer.Option("--json-lines", help="Print one JSON object per event, for logs.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Runs at once; one per accelerator, or one on the CPU, by default.")
]
Executor = Annotated[str, typer.Option(help="Where runs are executed: local, or one that a package adds.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of each worker; the cores shared out by default.")]
Track = Annotated[str | None, typer.Option(help="Report to a tracker as well: trackio, mlflow or wandb.")]
Margin = Annotated[
    str | None, typer.Option(help="Difference of scores that does not matter; 0.02 of a share by default.")
]
Across = Annotated[
    bool, typer.Option("--across", help="Rank figures of different conditions together, and say what differs.")
]


def request(source: str) -> Request:
    """Collects problems of options, which are named as they are typed.

    >>> request("recommend").option("max_memory")
    '--max-memory'
    """
    return Request(source, lambda name: f"--{name.replace('_', '-')}")
