"""Measuring a trained result: each quantity in one function, in an order in which none disturbs another.

Scores first, then the checkpoint, forgetting and drift; metered training steps change the weights and merging
changes the model, so they come last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from peftscope.errors import TechniqueRefused
from peftscope.methods import checkpoint as checkpoints
from peftscope.methods.build import Built
from peftscope.methods.optimizers import settings_of
from peftscope.models.device import memory_peaks, reset_memory_peaks
from peftscope.models.generation import TextGenerator, evaluating
from peftscope.models.latency import decode_latency
from peftscope.spec.record import ExampleOutcome
from peftscope.spec.run import RunSpec
from peftscope.tasks.base import Outcome, Retention, Split, Task
from peftscope.train.loop import Hooks, held_out_loss, train_step
from peftscope.train.memory import ProcessMemory
from peftscope.train.metrics import RUN_METRICS, SCORE_METRICS
from peftscope.train.storage import LiveStorage, tensors_of

__all__ = ["Measured", "measure_result", "metered_training_bytes", "score_split"]

LATENCY_BATCHES = (1, 8)


class Measured:
    """Metrics found so far, and for those that cannot be had: why."""

    def __init__(self) -> None:
        self.metrics: dict[str, float | int] = {}
        self.missing: dict[str, str] = {}
        self.examples: list[ExampleOutcome] = []

    def put(self, name: str, value: float | int | None) -> None:
        """Note a value; None is noted by ``complete`` with a reason."""
        if value is not None:
            self.metrics[name] = value

    def complete(self, default_reason: str) -> tuple[dict[str, float | int | None], dict[str, str]]:
        """Every metric there is, None where it is missing, and the reasons."""
        names = dict.fromkeys([*SCORE_METRICS, *RUN_METRICS, *self.metrics])
        metrics = {name: self.metrics.get(name) for name in names}
        return metrics, {n: self.missing.get(n, default_reason) for n, v in metrics.items() if v is None}


def measure_result(
    built: Built,
    task: Task,
    generate: TextGenerator,
    spec: RunSpec,
    measured: Measured,
    *,
    checkpoint: Path,
    retention: tuple[Retention, dict[str, torch.Tensor]] | None,
    stage: Callable[[str], None],
) -> None:
    """Take every measurement of a result, filling ``measured`` as it goes."""
    stage("score")
    _score_test(built, task, generate, spec, measured)
    if built.card.trains:
        stage("save")
        measured.put("checkpoint_bytes", checkpoints.save(built, checkpoint))
    stage("retention")
    if retention is None:
        for name in ("forgetting", "drift", "general_loss"):
            measured.missing[name] = "measure.general_tokens is 0, or the task has no such measure"
    else:
        measured.metrics |= retention[0].compare(built.model, retention[1])
    stage("losses")
    for split in ("valid", "test"):
        measured.put(f"{split}_loss", held_out_loss(built.model, task, task.eval_batches(split)))
    stage("latency")
    if spec.measure.latency:
        _measure_latency(built, measured, form="adapter")
    stage("memory")
    _measure_memory(built, task, generate, spec, measured)
    if spec.measure.latency:
        stage("merge")
        _measure_merged_latency(built, measured)
    else:
        for name in RUN_METRICS:
            if name.startswith("decode_latency"):
                measured.missing[name] = "measure.latency is false"


def score_split(task: Task, model: torch.nn.Module, generate: TextGenerator, split: Split) -> Sequence[Outcome]:
    """The task's outcomes on a split, in evaluation mode and without gradients; one per example at least."""
    with evaluating(model), torch.no_grad():
        outcomes = task.score(model, generate, split)
    assert len(outcomes) >= task.size(split), f"{len(outcomes)} outcomes for {task.size(split)} examples"
    return outcomes


def metered_training_bytes(built: Built, task: Task, spec: RunSpec) -> int:
    """Peak of live storage, in bytes, over a few real steps at the longest batch; changes the weights.

    The technique's hook after the step is left out: it counts the steps of the real training.
    """
    built.model.train()
    batches = [task.longest_batch() for _ in range(spec.train.accumulation)]
    with LiveStorage(tensors_of(built.model)) as storage:
        optimizer = built.make_optimizer(settings_of(spec))
        for step in range(1, spec.measure.metered_steps + 1):
            train_step(
                built.model,
                task,
                batches,
                optimizer,
                spec.train,
                step=step,
                hooks=Hooks(penalty=built.penalty),
            )
    return int(storage.peak_bytes)


def _score_test(built: Built, task: Task, generate: TextGenerator, spec: RunSpec, measured: Measured) -> None:
    device = next(built.model.parameters()).device
    reset_memory_peaks(device)
    started = time.perf_counter()
    with ProcessMemory() as process:
        outcomes = score_split(task, built.model, generate, "test")
    measured.put("eval_time_s", time.perf_counter() - started)
    measured.put("test_score", _mean_score(outcomes))
    cut = [o.truncated for o in outcomes if o.truncated is not None]
    measured.put("truncated_share", sum(cut) / len(cut) if cut else None)
    measured.examples = [
        ExampleOutcome(
            example_id=o.example_id,
            score=o.score,
            draw=o.draw,
            truncated=o.truncated,
            output=o.output if index < spec.measure.keep_outputs else None,
        )
        for index, o in enumerate(outcomes)
    ]
    peaks = memory_peaks(device)
    if peaks is None:
        measured.put("sampled_eval_memory_bytes", process.peak_bytes)
    else:
        measured.put("peak_eval_memory_bytes", peaks.allocated_bytes)
        measured.put("peak_eval_reserved_bytes", peaks.reserved_bytes)


def _measure_memory(built: Built, task: Task, generate: TextGenerator, spec: RunSpec, measured: Measured) -> None:
    """The validation score, and on the CPU the storage that scoring and training need."""
    on_cpu = memory_peaks(next(built.model.parameters()).device) is None
    for kind in ("train", "eval"):
        if on_cpu:
            measured.missing[f"peak_{kind}_reserved_bytes"] = "the CPU has no reserved memory"
        else:
            measured.missing[f"sampled_{kind}_memory_bytes"] = "taken on the CPU only"
            measured.missing["sampled_base_memory_bytes"] = "taken on the CPU only"
    if not on_cpu:
        measured.put("valid_score", _mean_score(score_split(task, built.model, generate, "valid")))
        return
    with LiveStorage(tensors_of(built.model)) as storage:
        measured.put("valid_score", _mean_score(score_split(task, built.model, generate, "valid")))
    measured.put("peak_eval_memory_bytes", storage.peak_bytes)
    if not built.card.trains:
        return
    if spec.measure.metered_steps == 0:
        measured.missing["peak_train_memory_bytes"] = "measure.metered_steps is 0"
        return
    measured.put("peak_train_memory_bytes", metered_training_bytes(built, task, spec))


def _measure_latency(built: Built, measured: Measured, *, form: str, model: torch.nn.Module | None = None) -> None:
    for batch_size in LATENCY_BATCHES:
        seconds = decode_latency(built.model if model is None else model, batch_size=batch_size)
        measured.put(f"decode_latency_{form}_b{batch_size}_s", seconds)


def _measure_merged_latency(built: Built, measured: Measured) -> None:
    try:
        merged = built.merge()
    except TechniqueRefused as refusal:
        for batch_size in LATENCY_BATCHES:
            measured.missing[f"decode_latency_merged_b{batch_size}_s"] = str(refusal)
        return
    _measure_latency(built, measured, form="merged", model=merged)


def _mean_score(outcomes: Sequence[Outcome]) -> float:
    return sum(o.score for o in outcomes) / len(outcomes)
