"""Values inside of rows, by path: ``messages[-1].content``, ``answers.text[0]``, ``messages[1][content]``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["column_of", "value_at"]

_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>-?\d+)\]|\[['\"]?(?P<key>[^\[\]'\"]+)['\"]?\]")


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """What stands at a path; None where nothing does. A column whose name is the whole path goes first.

    >>> row = {"messages": [{"content": "Hi"}], "a.b": 1}
    >>> value_at(row, "messages[-1].content"), value_at(row, "a.b"), value_at(row, "messages[4].content")
    ('Hi', 1, None)
    """
    found = _parted(row, path)
    if found is None:
        return None
    value = row[found[0]]
    for step in found[1]:
        if isinstance(step, int):
            fits = isinstance(value, Sequence) and not isinstance(value, str) and -len(value) <= step < len(value)
            value = value[step] if fits else None
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


def column_of(row: Mapping[str, Any], path: str) -> str | None:
    """The column a path begins with; None where the row has none like it.

    >>> column_of({"a": 1, "a.b": 2}, "a.b"), column_of({"a": 1}, "a[0].b"), column_of({"a": 1}, "ab")
    ('a.b', 'a', None)
    """
    found = _parted(row, path)
    return None if found is None else found[0]


def _parted(row: Mapping[str, Any], path: str) -> tuple[str, list[str | int]] | None:
    """The longest column the path begins with, and the steps after it."""
    if path in row:
        return path, []
    for column in sorted((name for name in row if path.startswith(name)), key=len, reverse=True):
        steps = _steps(path[len(column) :])
        if steps is not None:
            return column, steps
    return None


def _steps(text: str) -> list[str | int] | None:
    steps: list[str | int] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            return None
        index = match["index"]
        steps.append(match["name"] or match["key"] if index is None else int(index))
        at = match.end()
    return steps
