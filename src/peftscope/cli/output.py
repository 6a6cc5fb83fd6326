"""What commands print: one JSON document, or tables; and the progress of runs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from peftscope.spec.run import RunSpec

__all__ = ["RunProgress", "print_json", "show_warnings"]


def print_json(command: str, document: Mapping[str, Any]) -> None:
    """Print the one document of a command: ``{"schema": "peftscope.<command>/1", ...}``."""
    plain = _finite({"schema": f"peftscope.{command}/1", **document})
    print(json.dumps(plain, indent=1, ensure_ascii=False, default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    """The value with null for every float that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def show_warnings(lines: Iterable[str], *, quiet: bool = False) -> None:
    """Print warnings on stderr, each once."""
    console = Console(stderr=True, quiet=quiet, soft_wrap=True)
    for line in dict.fromkeys(lines):
        console.print(f"note: {line}", style="yellow", markup=False, highlight=False)


class RunProgress:
    """Shows on stderr how runs get on: a live line on a terminal, one line per run elsewhere.

    Args:
        num_runs: Runs in all.
        quiet: Show nothing.
    """

    def __init__(self, num_runs: int, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self.num_runs = num_runs
        self.num_done = 0
        self._started: dict[str, float] = {}
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, detail="")

    def __enter__(self) -> RunProgress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, run: RunSpec, stage: str, payload: Mapping[str, Any]) -> None:
        """Take an event of ``run.launch``."""
        if stage == "done":
            self._done(run, str(payload["status"]))
            return
        self._started.setdefault(run.run_id, time.monotonic())
        name = escape(f"[{self.num_done + 1}/{self.num_runs}] {run.method.title} seed {run.seed}: {stage}")
        if "step" in payload:
            self._bar.update(
                self._task,
                description=name,
                total=payload["max_steps"],
                completed=payload["step"],
                detail=f"loss {payload['loss']:.3f}",
            )
        else:
            self._bar.update(self._task, description=name, total=None, completed=0, detail="")

    def _done(self, run: RunSpec, status: str) -> None:
        self.num_done += 1
        started = self._started.get(run.run_id)
        took = "already done" if started is None else f"{time.monotonic() - started:.0f} s"
        rate = "" if run.learning_rate is None else f" lr {run.learning_rate:g}"
        self.console.print(
            f"[{self.num_done}/{self.num_runs}] {run.method.title}{rate} seed {run.seed}: {status} ({took})",
            markup=False,
            highlight=False,
        )
