"""What differs between two JSON-like values, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["differences"]

_ABSENT = object()
_LONGEST = 60


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """One line per value that differs, by its dotted path.

    >>> differences({"train": {"max_steps": 32}, "seeds": [0]}, {"train": {"max_steps": 64}, "seeds": [0]})
    ['train.max_steps: 32 → 64']
    >>> differences({"a": 1}, {"b": 2})
    ['a: 1 → nothing', 'b: nothing → 2']
    """
    return list(_walk(before, after, where))


def _walk(before: Any, after: Any, where: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(k for k in after if k not in before)]:
            path = f"{where}.{key}" if where else str(key)
            yield from _walk(before.get(key, _ABSENT), after.get(key, _ABSENT), path)
    elif before is _ABSENT or after is _ABSENT or before != after:
        yield f"{where or 'value'}: {_text(before)} → {_text(after)}"


def _text(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
