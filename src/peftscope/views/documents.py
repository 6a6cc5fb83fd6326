"""JSON documents: plain data with a schema's name, which every command prints and every result gives."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from peftscope.schema.record import timestamp

__all__ = ["compact_text", "event_line", "finite", "json_text"]


def json_text(document: Mapping[str, Any]) -> str:
    """A document as JSON text."""
    return json.dumps(finite(document), indent=1, ensure_ascii=False, default=str, allow_nan=False)


def compact_text(document: Any) -> str:
    """A document as JSON text on one line, as short as it can be.

    Raises:
        ValueError: A number is none that JSON knows.
    """
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def event_line(event: Mapping[str, Any]) -> str:
    """An event as one line of JSON: ``{"schema": "peftscope.event/1", "time": …, "event": …, ...}``."""
    plain = finite({"schema": "peftscope.event/1", "time": timestamp(), **event})
    return json.dumps(plain, default=str, allow_nan=False)


def finite(value: Any) -> Any:
    """The value with null for every float that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value
