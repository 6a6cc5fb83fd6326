"""The validation score of a trained result, and where no device counts it the storage that scoring needs."""

from __future__ import annotations

from contextlib import nullcontext
from typing import ClassVar

from torch import Tensor

from peftscope.measures.base import Measured, Measurement, Trained
from peftscope.measures.score import mean_score, score_and_loss
from peftscope.measures.storage import LiveStorage, tensors_of

__all__ = ["Validation"]


class Validation(Measurement):
    """Scores on the validation split, metered where there are no counters."""

    stage: ClassVar[str] = "validate"
    beside: ClassVar[bool] = False

    def take(self, trained: Trained, measured: Measured) -> None:
        """``valid_score``, and ``valid_loss`` where it comes along; ``peak_eval_memory_bytes`` where scoring the test
        split could not count it.
        """
        model = trained.built.model
        counted = "peak_eval_memory_bytes" in measured.metrics
        with nullcontext() if counted else LiveStorage(_held(trained)) as storage:
            outcomes, loss = score_and_loss(trained.task, model, trained.predictor, "valid")
        measured.put("valid_score", mean_score(outcomes))
        measured.put("valid_loss", loss)
        if storage is not None:
            measured.put("peak_eval_memory_bytes", storage.peak_bytes)


def _held(trained: Trained) -> list[Tensor]:
    """What is there before anything is scored: the model, and other models that score."""
    scorer = trained.task.scorer()
    models = [trained.built.model, *(() if scorer is None else scorer.models)]
    return [tensor for model in models for tensor in tensors_of(model)]
