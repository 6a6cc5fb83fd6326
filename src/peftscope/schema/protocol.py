"""The conditions a run's figures hold under; figures are ranked within the same conditions only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peftscope.schema.base import Frozen, content_hash
from peftscope.schema.identity import without_defaults
from peftscope.schema.run import RunSpec

__all__ = ["Protocol"]


class Protocol(Frozen):
    """What decides quality, and what decides cost beside it. Method, learning rate and seed are in neither."""

    quality: dict[str, Any]
    """Weights, task version, data, split, prompt, budget, batch, loss, type, decoding."""
    cost: dict[str, Any]
    """Hardware, library versions, threads and workers, memory setting."""

    @property
    def quality_hash(self) -> str:
        """Names the conditions scores are ranked within."""
        return content_hash(_told(self.quality))

    @property
    def cost_hash(self) -> str:
        """Names the conditions times and memory are ranked within: those of quality, and of cost."""
        return content_hash({"quality": _told(self.quality), "cost": _told(self.cost)})


def _told(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions without settings that are the defaults."""
    settings = conditions.get("settings")
    return {**conditions, **({} if settings is None else {"settings": without_defaults(settings, RunSpec)})}
