"""Options that several commands share, with one help text each."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Across", "Executor", "Json", "JsonLines", "Quiet", "Threads", "Track", "Workers"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
JsonLines = Annotated[bool, typer.Option("--json-lines", help="Print one JSON object per event, for logs.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Runs at once; one per accelerator, or one on the CPU, by default.")
]
Executor = Annotated[str, typer.Option(help="Where runs are executed: local, or one that a package adds.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of each worker; the cores shared out by default.")]
Track = Annotated[str | None, typer.Option(help="Report to a tracker as well: trackio, mlflow or wandb.")]
Across = Annotated[
    bool, typer.Option("--across", help="Rank figures of different conditions together, and say what differs.")
]
