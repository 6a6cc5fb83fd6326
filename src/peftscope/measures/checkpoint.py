"""The checkpoint: what is saved of a trained model, and its size."""

from __future__ import annotations

from typing import ClassVar

from peftscope.measures.base import Measured, Measurement, Trained
from peftscope.methods import checkpoint
from peftscope.store.local_paths import public_source

__all__ = ["Checkpoint"]


class Checkpoint(Measurement):
    """Saves the weights a method trained; a run without them is no result."""

    stage: ClassVar[str] = "save"
    beside: ClassVar[bool] = False

    def take(self, trained: Trained, measured: Measured) -> None:
        """``checkpoint_bytes``."""
        if trained.built.card.trains:
            model = trained.spec.model
            base = public_source(model.source)
            size = checkpoint.save(trained.built, trained.checkpoint, base=base, revision=model.revision)
            measured.put("checkpoint_bytes", size)
