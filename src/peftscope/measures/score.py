"""The score: what the task says of every example, on the test split; and on validation for a trial."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch

from peftscope.measures.base import Measured, Measurement, Trained
from peftscope.measures.metrics_limits_columns import SCORES
from peftscope.measures.peak_meter import PeakMeter
from peftscope.models.evaluating import evaluating
from peftscope.schema.record import ExampleOutcome
from peftscope.tasks.base import ExampleScore, Predictor, Split, Task
from peftscope.tasks.contract import checked_outcomes

__all__ = ["Score", "mean_score", "score_and_loss", "score_split"]


class Score(Measurement):
    """Scores on the test split, with the time and the memory that takes."""

    stage: ClassVar[str] = "score"
    beside: ClassVar[bool] = False

    def take(self, trained: Trained, measured: Measured) -> None:
        """``test_score``, ``truncated_share``, ``eval_time_s``, peaks of memory in scoring, every example's score;
        ``test_loss`` where it comes along.
        """
        model = trained.built.model
        started = time.perf_counter()
        with PeakMeter(next(model.parameters()).device) as meter:
            outcomes, loss = score_and_loss(trained.task, model, trained.predictor, "test")
        measured.put("eval_time_s", time.perf_counter() - started)
        measured.put_peaks("eval", meter)
        measured.put("test_score", mean_score(outcomes))
        measured.put("test_loss", loss)
        cut = [o.truncated for o in outcomes if o.truncated is not None]
        if cut:
            measured.put("truncated_share", sum(cut) / len(cut))
        else:
            measured.missing["truncated_share"] = "nothing is generated"
        outputs = Counter(o.output for o in outcomes if o.output is not None)
        if outputs:
            measured.put("same_answer_share", max(outputs.values()) / outputs.total())
        measured.attempt("what the outputs tell", (), lambda: _tell(trained.task, outcomes, measured))
        for spec in SCORES:
            measured.missing.setdefault(spec.name, "the task's answers do not tell")
        measured.warnings += _warnings(outputs, measured.metrics)
        measured.examples = _kept(outcomes, trained.task, trained.spec.measure.keep_outputs)


def _tell(task: Task, outcomes: Sequence[ExampleScore], measured: Measured) -> None:
    for name, value in task.answer_facts("test", outcomes).items():
        measured.put(name, value)


def _warnings(outputs: Counter[str], metrics: Mapping[str, float]) -> list[str]:
    """What a run notices of its answers by itself."""
    notes = []
    if len(outputs) == 1 and outputs.total() > 1:
        notes.append(f"every test row got the same answer: {next(iter(outputs))[:60]!r}")
    if metrics["test_score"] == metrics.get("majority_score"):
        notes.append("the score is what always giving the commonest training answer would give")
    return notes


def _kept(outcomes: Sequence[ExampleScore], task: Task, num_outputs: int) -> list[ExampleOutcome]:
    """Outcomes for the record; some with prompt, target and output: half of these the first, half the worst."""
    sign = -1.0 if task.metric.direction == "lower" else 1.0
    first = range(min((num_outputs + 1) // 2, len(outcomes)))
    worst = sorted((i for i in range(len(outcomes)) if i not in first), key=lambda i: (sign * outcomes[i].score, i))
    shown = {*first, *worst[: num_outputs // 2]}
    kept = []
    for index, outcome in enumerate(outcomes):
        texts: dict[str, str | None] = {}
        if index in shown and outcome.output is not None:
            asked = task.show("test", index)
            texts = {"output": outcome.output, "prompt": asked.prompt, "target": asked.target}
        kept.append(
            ExampleOutcome(
                example_id=outcome.example_id,
                score=outcome.score,
                draw=outcome.draw,
                truncated=outcome.truncated,
                group=outcome.group,
                **texts,
            )
        )
    return kept


def score_split(task: Task, model: torch.nn.Module, predictor: Predictor, split: Split) -> Sequence[ExampleScore]:
    """The task's outcomes on a split, in evaluation mode and without gradients; one per example at least."""
    with evaluating(model), torch.no_grad():
        return checked_outcomes(task, split, task.score(model, predictor, split))


def score_and_loss(
    task: Task, model: torch.nn.Module, predictor: Predictor, split: Split
) -> tuple[Sequence[ExampleScore], float | None]:
    """The same, and the split's mean loss per label where the same pass tells it."""
    with evaluating(model), torch.no_grad():
        outcomes, loss = task.score_and_loss(model, predictor, split)
        return checked_outcomes(task, split, outcomes), loss


def mean_score(outcomes: Sequence[ExampleScore]) -> float:
    """The score of a split."""
    return sum(o.score for o in outcomes) / len(outcomes)
