"""The conditions a run's figures hold under; figures are ranked within the same conditions only."""

from __future__ import annotations

from typing import Any

from peftscope.spec.base import Frozen, content_hash

__all__ = ["Protocol"]


class Protocol(Frozen):
    """What decides quality, and what decides cost beside it. Technique, learning rate and seed are in neither."""

    quality: dict[str, Any]
    """Weights, task version, data, split, prompt, budget, batch, loss, type, decoding."""
    cost: dict[str, Any]
    """Hardware, library versions, threads and workers, memory setting."""

    @property
    def quality_hash(self) -> str:
        """Names the conditions scores are ranked within."""
        return content_hash(self.quality)

    @property
    def cost_hash(self) -> str:
        """Names the conditions times and memory are ranked within: those of quality, and of cost."""
        return content_hash({"quality": self.quality, "cost": self.cost})
