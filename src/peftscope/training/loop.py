"""The one training loop. It knows neither tokens nor images nor methods."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from peftscope.errors import Diverged
from peftscope.models.device import autocast, synchronize
from peftscope.models.evaluating import evaluating
from peftscope.schema.record import CurvePoint
from peftscope.schema.study import TrainSpec
from peftscope.tasks.base import Batch, HasLoss, Task, to_device
from peftscope.tasks.contract import checked_loss
from peftscope.training.frozen_products import fast_frozen_products
from peftscope.training.pause import Pauses, TrainingState
from peftscope.training.result import FitResult

__all__ = ["Fit", "Hooks", "Progress", "held_out_loss", "make_schedule", "train_step"]

EXPLODED_FACTOR = 10.0
"""A loss this many times the highest of the first steps counts as exploded …"""
EXPLODED_STEPS = 10
"""… when it stays there for so many steps in a row."""
POINTS = 20
"""Points on the training curve when no validation period is asked for."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """State of a training, told after every step."""

    step: int
    max_steps: int
    loss: float
    valid_score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What a method does besides gradient steps."""

    after_step: Callable[[int], None] | None = None
    """Called after every optimizer step with the number of steps done, gradients still in place."""
    penalty: Callable[[], Tensor] | None = None
    """A term of the method's own added to the training loss, once a step; in no loss that is reported."""


class Stopwatch:
    """Adds up the time of marked stretches, waiting for the device at both ends."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.elapsed_s = 0.0
        self._started: float | None = None

    def start(self) -> None:
        """Begin a stretch."""
        synchronize(self.device)
        self._started = time.perf_counter()

    def stop(self) -> None:
        """End the stretch begun last."""
        assert self._started is not None, "stopped before it was started"
        synchronize(self.device)
        self.elapsed_s += time.perf_counter() - self._started
        self._started = None


@dataclass
class Fit:
    """A training of a model on a task.

    Raises, when it is run:
        Diverged: The loss or the gradient became NaN or infinite, or the loss exploded and stayed there.
        StoreError: The state of a training that is to pause cannot be written.
    """

    model: nn.Module
    """With the method applied."""
    task: Task
    """Where batches and losses come from."""
    spec: TrainSpec
    """Steps, accumulation, schedule, clipping: the same for every method."""
    _: KW_ONLY
    optimizer: Optimizer
    """Holds the parameters that train; its learning rates are the peaks of the schedule."""
    seed: int
    """Order of the data."""
    result: FitResult
    """Filled as the training goes on, so that a training that fails leaves what it had."""
    hooks: Hooks | None = None
    """What the method does besides gradient steps."""
    validate: Callable[[], float] | None = None
    """Gives the validation score; called every ``spec.eval_every`` steps, outside the timed window."""
    pauses: Pauses | None = None
    """Where to look at it and stop on the way; a training that was stopped goes on from there."""
    on_progress: Callable[[Progress], None] = lambda progress: None
    """Told after every step."""

    def __post_init__(self) -> None:
        self._schedule = make_schedule(self.optimizer, self.spec)
        self._state = TrainingState(self.model, self.optimizer, self._schedule)
        self._watch = Stopwatch(next(self.model.parameters()).device)
        self._guard, self._window = _DivergenceGuard(), _Window()

    def run(self) -> None:
        """Train to the end, or to where it is to pause."""
        spec, result, pauses = self.spec, self.result, self.pauses
        self._resume()
        batches = self.task.batches(self.seed)
        for _ in range(result.steps_done * spec.accumulation):
            next(batches)
        last = pauses.until or spec.max_steps if pauses is not None else spec.max_steps
        self.model.train()
        for step in range(result.steps_done + 1, last + 1):
            rate = float(self._schedule.get_last_lr()[0])
            loss = self._step(step, [next(batches) for _ in range(spec.accumulation)])
            score = self._look(step, rate)
            self.on_progress(Progress(step=step, max_steps=spec.max_steps, loss=loss, valid_score=score))
        if not all(torch.isfinite(p).all() for group in self.optimizer.param_groups for p in group["params"]):
            raise Diverged(f"step {last}: the last step left weights that are not finite")
        if last < spec.max_steps and pauses is not None and pauses.state is not None:
            self._state.save(pauses.state, pauses.conditions, result, self._guard.state_dict())

    def _resume(self) -> None:
        """Go on from where it paused, if it did."""
        if self.pauses is None or self.pauses.state is None:
            return
        state_dict = self._state.load(self.pauses.state, self.pauses.conditions, self.result)
        if state_dict is not None:
            self._watch.elapsed_s = self.result.train_time_s
            self._guard.load_state_dict(state_dict)

    def _step(self, step: int, micro: list[Batch]) -> float:
        """One step, timed and counted; its mean loss per label."""
        self._watch.start()
        loss_sum, count = train_step(
            self.model, self.task, micro, self.optimizer, self.spec, step=step, hooks=self.hooks
        )
        self._schedule.step()
        self._watch.stop()
        self._guard.check(step, loss_sum / count)
        self._window.add(loss_sum, count)
        self.result.steps_done = step
        self.result.num_samples += sum(self.task.num_samples(batch) for batch in micro)
        self.result.num_units += sum(self.task.num_units(batch) for batch in micro)
        return loss_sum / count

    def _look(self, step: int, rate: float) -> float | None:
        """A point of the curve where one is due; the validation score if it was taken."""
        spec, pauses = self.spec, self.pauses
        period = spec.eval_every or max(1, spec.max_steps // POINTS)
        is_rung = pauses is not None and step in pauses.rungs
        if step % period and step != spec.max_steps and not is_rung:
            return None
        score = None
        if self.validate is not None and spec.eval_every and step % period == 0 and step < spec.max_steps:
            score = self.validate()
        loss = pauses.measure() if pauses is not None and is_rung else None
        self.model.train()
        self.result.train_time_s = self._watch.elapsed_s
        self.result.final_loss = self._window.take()
        self.result.curve.append(
            CurvePoint(
                step=step,
                learning_rate=rate,
                train_loss=self.result.final_loss,
                valid_score=score,
                valid_loss=loss,
                train_time_s=self._watch.elapsed_s,
            )
        )
        return score


def train_step(
    model: nn.Module,
    task: HasLoss,
    micro_batches: list[Batch],
    optimizer: Optimizer,
    spec: TrainSpec,
    *,
    step: int,
    hooks: Hooks | None = None,
) -> tuple[float, int]:
    """One optimizer step over its micro-batches; gives the summed loss and the number of labels.

    The gradient is that of the mean over all labels of the step, however they fall into micro-batches: each
    is divided by the first one's count as it is added, and the sum rescaled by the total at the end, so that
    one micro-batch gives the gradient of the plain mean bit for bit.

    Raises:
        Diverged: The loss or the gradient is NaN or infinite.
    """
    with fast_frozen_products(model) if spec.saves_loss_memory else nullcontext():
        total_sum, first_count, total_count = _add_gradients(model, task, micro_batches, spec, hooks)
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if total_count != first_count:
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad.mul_(first_count / total_count)
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if not math.isfinite(total_sum) or not math.isfinite(float(norm)):
        raise Diverged(f"step {step}: loss {total_sum / total_count:.4g}, gradient norm {float(norm):.4g}")
    if spec.grad_norm_clip is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, spec.grad_norm_clip, norm)
    optimizer.step()
    if hooks is not None and hooks.after_step is not None:
        hooks.after_step(step)
    optimizer.zero_grad(set_to_none=True)
    return total_sum, total_count


def _add_gradients(
    model: nn.Module, task: HasLoss, micro_batches: list[Batch], spec: TrainSpec, hooks: Hooks | None
) -> tuple[float, int, int]:
    """Add the gradients, each divided by the first one's labels; gives the summed loss, these and all labels."""
    device = next(model.parameters()).device
    mixed: AbstractContextManager[object] = autocast(device) if spec.autocast else nullcontext()
    first_count, total_sum, total_count = 0, 0.0, 0
    for index, batch in enumerate(micro_batches, start=1):
        with mixed:
            loss_sum, count = checked_loss(task, model, to_device(batch, device))
        first_count = first_count or count
        total_sum, total_count = total_sum + float(loss_sum.detach()), total_count + count
        objective = loss_sum / first_count
        if hooks is not None and hooks.penalty is not None and index == len(micro_batches):
            # while this batch's graph lives, which some penalties are part of; the factor undoes the rescaling
            objective = objective + hooks.penalty() * (total_count / first_count)
        objective.backward()  # type: ignore[no-untyped-call]
    return total_sum, first_count, total_count


def make_schedule(optimizer: Optimizer, spec: TrainSpec) -> LRScheduler:
    """Linear warm-up, then the course ``spec.schedule`` names, down to zero at the last step where it falls."""
    names = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
    scheduler: LRScheduler = get_scheduler(
        names[spec.schedule],
        optimizer,
        num_warmup_steps=round(spec.warmup_fraction * spec.max_steps),
        num_training_steps=spec.max_steps,
    )
    return scheduler


@torch.no_grad()
def held_out_loss(model: nn.Module, task: Task, batches: Iterator[Batch]) -> float:
    """Mean loss per label over the given batches, in evaluation mode."""
    device = next(model.parameters()).device
    total, labels = 0.0, 0
    with evaluating(model):
        for batch in batches:
            loss_sum, count = checked_loss(task, model, to_device(batch, device))
            total, labels = total + float(loss_sum), labels + count
    return total / labels


class _Window:
    """Mean loss per label since the last point of the curve."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, loss_sum: float, count: int) -> None:
        self._sum, self._count = self._sum + loss_sum, self._count + count

    def take(self) -> float:
        mean = self._sum / self._count
        self._sum, self._count = 0.0, 0
        return mean


class _DivergenceGuard:
    """Notices a loss that has exploded and stays there."""

    def __init__(self) -> None:
        self.reference = 0.0
        self.run_length = 0

    def state_dict(self) -> dict[str, float]:
        """What it has to remember where a training pauses."""
        return {"reference": self.reference, "run_length": self.run_length}

    def load_state_dict(self, state_dict: Mapping[str, float]) -> None:
        """Go on with what was remembered."""
        self.reference, self.run_length = state_dict["reference"], int(state_dict["run_length"])

    def check(self, step: int, loss: float) -> None:
        if step <= EXPLODED_STEPS:
            self.reference = max(self.reference, abs(loss))
            return
        self.run_length = self.run_length + 1 if loss > EXPLODED_FACTOR * self.reference else 0
        if self.run_length >= EXPLODED_STEPS:
            raise Diverged(
                f"step {step}: loss {loss:.4g} for {EXPLODED_STEPS} steps above {EXPLODED_FACTOR:g} times "
                f"the highest of the first {EXPLODED_STEPS} ({self.reference:.4g}); try a lower learning rate"
            )
