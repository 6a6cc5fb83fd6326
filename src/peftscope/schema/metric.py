"""What a measured quantity is: its unit, its direction and the window it is taken over."""

from __future__ import annotations

from typing import Literal

from peftscope.schema.base import Frozen

__all__ = ["MetricSpec"]


class MetricSpec(Frozen):
    """A quantity computed in exactly one function."""

    name: str
    """Key in the record, column in the frame."""
    unit: str
    """``share``, ``nats/token``, ``s``, ``bytes``, ``tokens/s``, ``count``, …"""
    direction: Literal["higher", "lower", "neutral"]
    """Which way is better; ``neutral`` where neither is."""
    window: str
    """What it is taken over, in words: which steps, examples or tokens."""
    repeats: bool = True
    """Whether the same run on the same machine gives it again bit for bit; times and sampled figures do not."""
