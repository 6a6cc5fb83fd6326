"""Measuring a trained result: each quantity in one function, in an order in which none disturbs another.

Scores first, then the checkpoint, forgetting and drift. What follows is measured beside the result (memory by
metered steps, latency): its failure costs those figures and not the run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from peftscope.capture import capture
from peftscope.measures.memory import PeakMeter
from peftscope.measures.metrics import OF_RETENTION, RUN_METRICS, SCORE_METRICS
from peftscope.measures.storage import LiveStorage, tensors_of
from peftscope.methods import checkpoint as checkpoints
from peftscope.methods.build import Built
from peftscope.methods.optimizers import settings_of
from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.base import ModelKind
from peftscope.schema.record import ExampleOutcome
from peftscope.schema.run import RunSpec
from peftscope.tasks.base import Outcome, Predictor, Retention, Split, Task
from peftscope.tasks.contract import checked_outcomes
from peftscope.training.loop import Hooks, held_out_loss, train_step

__all__ = ["Measured", "measure_result", "measure_trial", "metered_training_bytes", "score_split"]

FORMS: tuple[Literal["adapter", "merged"], ...] = ("adapter", "merged")


class Measured:
    """Metrics found so far, and for those that cannot be had: why."""

    def __init__(self) -> None:
        self.metrics: dict[str, float | int] = {}
        self.missing: dict[str, str] = {}
        self.warnings: list[str] = []
        self.examples: list[ExampleOutcome] = []

    def put(self, name: str, value: float | int | None) -> None:
        """Note a value; None is noted by ``complete`` with a reason, what is no number here and now."""
        if value is not None and not math.isfinite(value):
            self.missing[name] = f"came out as {value}"
        elif value is not None:
            self.metrics[name] = value

    def put_peaks(self, phase: str, meter: PeakMeter) -> None:
        """Note the memory peaks of a phase (``train`` or ``eval``)."""
        self.put(f"sampled_{phase}_memory_bytes", meter.sampled_bytes)
        self.put(f"peak_{phase}_memory_bytes", meter.allocated_bytes)
        self.put(f"peak_{phase}_reserved_bytes", meter.reserved_bytes)
        if meter.sampled_bytes is None:
            self.missing[f"sampled_{phase}_memory_bytes"] = "taken where there are no accelerator's counters"
            self.missing["sampled_base_memory_bytes"] = self.missing[f"sampled_{phase}_memory_bytes"]
        else:
            self.missing[f"peak_{phase}_reserved_bytes"] = "taken from an accelerator's counters"

    def attempt(self, what: str, names: Iterable[str], action: Callable[[], None]) -> None:
        """Measure something beside the result; its failure costs these metrics, not the run."""
        failure = capture(action)
        if failure is None:
            return
        self.missing |= {name: failure.reason for name in names if name not in self.metrics}
        if failure.status != "refused":
            self.warnings.append(f"{what} could not be measured: {failure.reason}")

    def complete(self, default_reason: str) -> tuple[dict[str, float | int | None], dict[str, str]]:
        """Every metric there is, None where it is missing, and the reasons."""
        names = dict.fromkeys([*SCORE_METRICS, *RUN_METRICS, *OF_RETENTION, *self.metrics])
        metrics = {name: self.metrics.get(name) for name in names}
        return metrics, {n: self.missing.get(n, default_reason) for n, v in metrics.items() if v is None}


def measure_result(
    built: Built,
    task: Task,
    predictor: Predictor,
    spec: RunSpec,
    measured: Measured,
    *,
    checkpoint: Path,
    retention: tuple[Retention, dict[str, torch.Tensor]] | None,
    stage: Callable[[str], None],
    kind: ModelKind,
) -> None:
    """Take every measurement of a result, filling ``measured`` as it goes."""
    stage("score")
    _score_test(built, task, predictor, spec, measured)
    if built.card.trains:
        stage("save")
        measured.put("checkpoint_bytes", checkpoints.save(built, checkpoint))
    stage("retention")
    if retention is None:
        reason = "the task measures none (of text: general_tokens is 0)"
        measured.missing |= dict.fromkeys(OF_RETENTION, reason)
    else:
        for name, value in retention[0].compare(built.model, retention[1]).items():
            measured.put(name, value)
    stage("losses")
    for split in ("valid", "test"):
        measured.put(f"{split}_loss", held_out_loss(built.model, task, task.eval_batches(split)))
    stage("memory")
    _measure_memory(built, task, predictor, spec, measured)
    for form in FORMS:
        stage(f"latency, {form}")
        names = [metric.name for metric in kind.inference_metrics if form in metric.name]
        if spec.measure.latency:
            measured.attempt("latency", names, partial(_measure_inference, built, kind, measured, form=form))
        else:
            measured.missing |= dict.fromkeys(names, "measure.latency is false")


def measure_trial(
    built: Built, task: Task, predictor: Predictor, measured: Measured, *, stage: Callable[[str], None]
) -> None:
    """Take what a trial is chosen by: score and loss on validation, with each example's score."""
    stage("score")
    outcomes = score_split(task, built.model, predictor, "valid")
    measured.put("valid_score", _mean_score(outcomes))
    measured.examples = [ExampleOutcome(example_id=o.example_id, score=o.score, draw=o.draw) for o in outcomes]
    stage("losses")
    measured.put("valid_loss", held_out_loss(built.model, task, task.eval_batches("valid")))


def score_split(task: Task, model: torch.nn.Module, predictor: Predictor, split: Split) -> Sequence[Outcome]:
    """The task's outcomes on a split, in evaluation mode and without gradients; one per example at least."""
    with evaluating(model), torch.no_grad():
        return checked_outcomes(task, model, predictor, split)


def metered_training_bytes(built: Built, task: Task, spec: RunSpec) -> int:
    """Peak of live storage, in bytes, over a few real steps at the longest batch; changes the weights.

    The learning rate is zero, so that the weights stay what they are: memory does not depend on it. The
    technique's hook after the step is left out, since it counts the steps of the real training; what the hook
    keeps is counted.
    """
    settings = replace(settings_of(spec), learning_rate=0.0, weight_decay=0.0)
    batches = [task.longest_batch() for _ in range(spec.train.accumulation)]
    built.model.train()
    with LiveStorage([*tensors_of(built.model), *built.hook_tensors()]) as storage:
        optimizer = built.make_optimizer(settings)
        for step in range(1, spec.measure.metered_steps + 1):
            train_step(built.model, task, batches, optimizer, spec.train, step=step, hooks=Hooks(penalty=built.penalty))
    return int(storage.peak_bytes)


def _score_test(built: Built, task: Task, predictor: Predictor, spec: RunSpec, measured: Measured) -> None:
    device = next(built.model.parameters()).device
    started = time.perf_counter()
    with PeakMeter(device) as meter:
        outcomes = score_split(task, built.model, predictor, "test")
    measured.put("eval_time_s", time.perf_counter() - started)
    measured.put_peaks("eval", meter)
    measured.put("test_score", _mean_score(outcomes))
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
            output=o.output if index < spec.measure.keep_outputs else None,
        )
        for index, o in enumerate(outcomes)
    ]


def _measure_memory(built: Built, task: Task, predictor: Predictor, spec: RunSpec, measured: Measured) -> None:
    """The validation score, and where there are no counters the storage that scoring and training need."""
    counted = "peak_eval_memory_bytes" in measured.metrics
    with nullcontext() if counted else LiveStorage(tensors_of(built.model)) as storage:
        measured.put("valid_score", _mean_score(score_split(task, built.model, predictor, "valid")))
    if storage is not None:
        measured.put("peak_eval_memory_bytes", storage.peak_bytes)
    if counted or not built.card.trains:
        return
    name = "peak_train_memory_bytes"
    if spec.measure.metered_steps == 0:
        measured.missing[name] = "measure.metered_steps is 0"
        return
    measured.attempt(
        "memory of training", [name], lambda: measured.put(name, metered_training_bytes(built, task, spec))
    )


def _measure_inference(
    built: Built, kind: ModelKind, measured: Measured, *, form: Literal["adapter", "merged"]
) -> None:
    model = built.merge() if form == "merged" else built.model
    for name, value in kind.inference_cost(model, form).items():
        measured.put(name, value)


def _mean_score(outcomes: Sequence[Outcome]) -> float:
    return sum(o.score for o in outcomes) / len(outcomes)
