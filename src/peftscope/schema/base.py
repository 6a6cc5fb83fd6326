"""The pydantic base every spec and record derives from, and the content hash that names them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["STRICT", "Frozen", "content_hash"]


STRICT = ConfigDict(extra="forbid", validate_default=True, ser_json_inf_nan="constants")
"""What models of every sort here have in common, light dataclasses too."""


class Frozen(BaseModel):
    """An immutable model that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, **STRICT)


def content_hash(value: Any, *, length: int = 16) -> str:
    """Hash of a JSON-like value; equal content gives an equal hash, whatever the order of its keys.

    >>> content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    True
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
