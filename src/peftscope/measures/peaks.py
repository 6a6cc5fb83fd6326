"""Memory where no device counts it: live storage over metered passes, after everything else was measured."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import ClassVar

from peftscope.measures.base import Measured, Measurement, Trained
from peftscope.measures.score import mean_score, score_split
from peftscope.measures.storage import LiveStorage, tensors_of
from peftscope.methods.optimizers import settings_of
from peftscope.training.loop import Hooks, train_step

__all__ = ["Peaks", "metered_training_bytes"]


class Peaks(Measurement):
    """The validation score, and where there are no counters the storage that scoring and training need."""

    stage: ClassVar[str] = "memory"
    beside: ClassVar[bool] = False

    def take(self, trained: Trained, measured: Measured) -> None:
        """``valid_score``, ``peak_eval_memory_bytes``, ``peak_train_memory_bytes``."""
        built, task = trained.built, trained.task
        counted = "peak_eval_memory_bytes" in measured.metrics
        with nullcontext() if counted else LiveStorage(tensors_of(built.model)) as storage:
            measured.put("valid_score", mean_score(score_split(task, built.model, trained.predictor, "valid")))
        if storage is not None:
            measured.put("peak_eval_memory_bytes", storage.peak_bytes)
        if counted or not built.card.trains:
            return
        name = "peak_train_memory_bytes"
        if trained.spec.measure.metered_steps == 0:
            measured.missing[name] = "measure.metered_steps is 0"
            return
        measured.attempt("memory of training", [name], lambda: measured.put(name, metered_training_bytes(trained)))


def metered_training_bytes(trained: Trained) -> int:
    """Peak of live storage, in bytes, over a few real steps at the longest batch; changes the weights.

    The learning rate is zero, so that the weights stay what they are: memory does not depend on it. The
    method's hook after the step is left out, since it counts the steps of the real training; what the hook
    keeps is counted.
    """
    built, task, spec = trained.built, trained.task, trained.spec
    settings = replace(settings_of(spec), learning_rate=0.0, weight_decay=0.0)
    batches = [task.longest_batch() for _ in range(spec.train.accumulation)]
    built.model.train()
    with LiveStorage([*tensors_of(built.model), *built.hook_tensors()]) as storage:
        optimizer = built.make_optimizer(settings)
        for step in range(1, spec.measure.metered_steps + 1):
            train_step(built.model, task, batches, optimizer, spec.train, step=step, hooks=Hooks(penalty=built.penalty))
    return int(storage.peak_bytes)
