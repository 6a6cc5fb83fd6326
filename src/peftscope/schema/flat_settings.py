"""Nested settings as lines, for tables and for what runs are told apart by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["flat"]


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as lines of name and text; what is None or an empty mapping sets nothing, and is left out.

    >>> flat({"task": {"name": "math", "seed": None, "options": {}}, "dtype": "float32"})
    [('task.name', 'math'), ('dtype', 'float32')]
    """
    lines: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += flat(value, f"{prefix}{key}.")
        elif value is not None:
            shown = isinstance(value, str) and value == value.strip() != ""
            text = value if shown else json.dumps(value, ensure_ascii=False, default=str)
            lines.append((f"{prefix}{key}", text))
    return lines
