"""What a measured quantity is: its unit, its direction, the window it is taken over, and where it belongs."""

from __future__ import annotations

import re
from typing import Literal

from peftscope.schema.base import Frozen

__all__ = ["MetricSpec"]


class MetricSpec(Frozen):
    """A quantity computed in exactly one function. Frames, limits, tables, axes and exports follow from it."""

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
    label: str = ""
    """What texts and axes call it; left out, the name in words."""
    heading: str = ""
    """Its heading in a study's tables; one without has no column there."""
    signed: bool = False
    """Whether it is a difference, to be shown with its sign."""
    group: Literal["quality", "cost"] = "quality"
    """Whether it tells what was learned or what that costs."""
    protocol: Literal["quality", "cost"] = "quality"
    """Within which conditions its values are comparable: ``cost`` where the machine decides them, too."""
    limit: str | None = None
    """What limits and preferences call it; of several with one name the first that was measured is taken."""
    needs_training: bool = False
    """Whether the untouched base, which is not trained, has none."""
    kinds: tuple[str, ...] = ()
    """Kinds of models that have it; all where none is named."""
    setting: str = ""
    """Setting of a study that has it measured, such as ``measure.latency: true``; left out where none has to be set."""
    on_request: bool = False
    """Whether it is taken only where it is asked for: a run without it need not say why."""

    @property
    def title(self) -> str:
        """Its label.

        >>> MetricSpec(name="peak_train_memory_bytes", unit="bytes", direction="lower", window="").title
        'peak train memory'
        """
        return self.label or re.sub(r"(?<!_per)_(s|bytes)$", "", self.name).removeprefix("num_").replace("_", " ")
