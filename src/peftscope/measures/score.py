"""The score: what the task says of every example, on the test split; and on validation for a trial."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

import torch

from peftscope.measures.base import Measured, Measurement, Trained
from peftscope.measures.peak_meter import PeakMeter
from peftscope.models.evaluating import evaluating
from peftscope.schema.record import ExampleOutcome
from peftscope.tasks.base import ExampleScore, Predictor, Split, Task
from peftscope.tasks.contract import checked_outcomes

__all__ = ["Score", "mean_score", "score_split"]


class Score(Measurement):
    """Scores on the test split, with the time and the memory that takes."""

    stage: ClassVar[str] = "score"
    beside: ClassVar[bool] = False

    def take(self, trained: Trained, measured: Measured) -> None:
        """``test_score``, ``truncated_share``, ``eval_time_s``, peaks of memory in scoring, every example's score."""
        model = trained.built.model
        started = time.perf_counter()
        with PeakMeter(next(model.parameters()).device) as meter:
            outcomes = score_split(trained.task, model, trained.predictor, "test")
        measured.put("eval_time_s", time.perf_counter() - started)
        measured.put_peaks("eval", meter)
        measured.put("test_score", mean_score(outcomes))
        cut = [o.truncated for o in outcomes if o.truncated is not None]
        if cut:
            measured.put("truncated_share", sum(cut) / len(cut))
        else:
            measured.missing["truncated_share"] = "nothing is generated"
        measured.examples = [
            ExampleOutcome(
                example_id=o.example_id,
                score=o.score,
                draw=o.draw,
                truncated=o.truncated,
                group=o.group,
                output=o.output if index < trained.spec.measure.keep_outputs else None,
            )
            for index, o in enumerate(outcomes)
        ]


def score_split(task: Task, model: torch.nn.Module, predictor: Predictor, split: Split) -> Sequence[ExampleScore]:
    """The task's outcomes on a split, in evaluation mode and without gradients; one per example at least."""
    with evaluating(model), torch.no_grad():
        return checked_outcomes(task, model, predictor, split)


def mean_score(outcomes: Sequence[ExampleScore]) -> float:
    """The score of a split."""
    return sum(o.score for o in outcomes) / len(outcomes)
