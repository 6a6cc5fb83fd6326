"""Memory of training: an accelerator's counters or samples while it goes on, and live storage over metered steps."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_iter

from peftscope.measures.base import Measured, Measurement, Trained, Watch
from peftscope.measures.peak_meter import PeakMeter
from peftscope.measures.storage import LiveStorage, tensors_of
from peftscope.methods.build import Built
from peftscope.methods.optimizers import settings_of
from peftscope.training.loop import Hooks, train_step

__all__ = ["Memory", "metered_training_bytes"]


class Memory(Measurement):
    """What training takes; without counters it is metered after everything else, since the process's says too much."""

    stage: ClassVar[str] = "memory"

    def watch(self, built: Built) -> Watch:
        """Peaks of the training itself."""
        return _TrainingPeaks(built)

    def take(self, trained: Trained, measured: Measured) -> None:
        """``peak_train_memory_bytes``, where no counter gave it."""
        name = "peak_train_memory_bytes"
        if name in measured.metrics or not trained.built.card.trains:
            return
        if trained.spec.measure.metered_steps == 0:
            measured.missing[name] = "measure.metered_steps is 0"
        else:
            measured.put(name, metered_training_bytes(trained))


class _TrainingPeaks(Watch):
    def __init__(self, built: Built) -> None:
        self.meter = PeakMeter(next(built.model.parameters()).device)

    def start(self) -> None:
        self.meter.__enter__()

    def pause(self) -> None:
        self.meter.pause()

    def resume(self) -> None:
        self.meter.resume()

    def stop(self) -> None:
        self.meter.__exit__(None, None, None)

    def put(self, measured: Measured) -> None:
        measured.put_peaks("train", self.meter)


def metered_training_bytes(trained: Trained) -> int:
    """Peak of live storage, in bytes, over a few real steps at the longest batch; changes the weights.

    The learning rate is zero, so that the weights stay what they are: memory does not depend on it. The
    method's hook after the step is left out, since it counts the steps of the real training; what the hook
    keeps is counted. The training's own optimizer goes on, which has its state: one step less is needed than with a
    new one, whose first step makes it.
    """
    built, task, spec = trained.built, trained.task, trained.spec
    optimizer = trained.optimizer or built.make_optimizer(settings_of(spec))
    for group in optimizer.param_groups:
        group.update(lr=0.0, weight_decay=0.0)
    num_steps = max(1, spec.measure.metered_steps - bool(optimizer.state))
    batches = [task.longest_batch() for _ in range(spec.train.accumulation)]
    built.model.train()
    with LiveStorage([*tensors_of(built.model), *built.hook_tensors(), *_state_of(optimizer)]) as storage:
        for step in range(1, num_steps + 1):
            train_step(built.model, task, batches, optimizer, spec.train, step=step, hooks=Hooks(penalty=built.penalty))
    return int(storage.peak_bytes)


def _state_of(optimizer: Optimizer) -> list[Tensor]:
    return [leaf for leaf in tree_iter(list(optimizer.state.values())) if isinstance(leaf, Tensor)]
