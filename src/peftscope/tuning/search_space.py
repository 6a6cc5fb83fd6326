"""What tuning searches for one method, and how often it starts a trial that is killed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MAX_KILLS", "SearchSpace"]

MAX_KILLS = 3
"""Starts of a trial that may be killed before it counts as failed."""


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What of a method is searched."""

    low: float
    """Ends of the learning rate's range."""
    high: float
    centre: float
    """Learning rate at which an effort's search begins."""
    knobs: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Further settings, each with its candidates."""
