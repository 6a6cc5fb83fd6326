"""What commands print: one JSON document, or a line per event, or notes beside their tables."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from rich.console import Console

from peftscope.schema.record import timestamp

__all__ = ["finite", "print_event", "print_json", "show_warnings"]


def print_json(command: str, document: Mapping[str, Any]) -> None:
    """Print the one document of a command: ``{"schema": "peftscope.<command>/1", ...}``."""
    plain = finite({"schema": f"peftscope.{command}/1", **document})
    print(json.dumps(plain, indent=1, ensure_ascii=False, default=str, allow_nan=False))


def print_event(event: str, content: Mapping[str, Any], *, stream: TextIO | None = None) -> None:
    """Print a line of ``--json-lines``: ``{"schema": "peftscope.event/1", "event": …, "time": …, ...}``, at once."""
    plain = finite({"schema": "peftscope.event/1", "event": event, "time": timestamp(), **content})
    stream = stream or sys.stdout
    stream.write(json.dumps(plain, default=str, allow_nan=False) + "\n")
    stream.flush()


def finite(value: Any) -> Any:
    """The value with null for every float that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def show_warnings(lines: Iterable[str], *, quiet: bool = False) -> None:
    """Print warnings on stderr, each once."""
    console = Console(stderr=True, quiet=quiet, soft_wrap=True)
    for line in dict.fromkeys(lines):
        console.print(f"note: {line}", style="yellow", markup=False, highlight=False)
