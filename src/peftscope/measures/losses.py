"""Losses on what was not trained on."""

from __future__ import annotations

from typing import ClassVar

from peftscope.measures.base import Measured, Measurement, Trained
from peftscope.tasks.base import Split
from peftscope.training.loop import held_out_loss

__all__ = ["Losses"]

SPLITS: tuple[Split, ...] = ("valid", "test")


class Losses(Measurement):
    """Mean loss per label on validation and test."""

    stage: ClassVar[str] = "losses"
    beside: ClassVar[bool] = False

    def take(self, trained: Trained, measured: Measured) -> None:
        """``valid_loss`` and ``test_loss``, as far as they did not come along with the scores."""
        for split in SPLITS:
            if f"{split}_loss" not in measured.metrics:
                batches = trained.task.eval_batches(split)
                measured.put(f"{split}_loss", held_out_loss(trained.built.model, trained.task, batches))
