"""What training and scoring with a technique will take, before anything is downloaded or run.

The model is built from its config on the ``meta`` device, the technique is put on it, and one step of the real
training loop is done there: nothing is computed, and every storage that would come and go is noted in order. What
an accelerator would reserve for them its caching allocator decides, of which :mod:`peftscope.plan.allocator` is a
model. The whole depth is gone through, so that nothing is extrapolated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from peftscope.capture import capture
from peftscope.methods.build import BuildContext, build
from peftscope.methods.checkpoint import saved_bytes
from peftscope.methods.optimizers import OptimizerSettings
from peftscope.methods.shapes import left_on_host, steps_on_shapes
from peftscope.models.generation import evaluating
from peftscope.plan.memory_peak import Breakdown, Kinds, Peak, peak_of, storage_sizes
from peftscope.plan.subject import Subject
from peftscope.spec.study import MethodSpec, TrainSpec
from peftscope.train.loop import Hooks, train_step
from peftscope.train.memory_settings import prepare
from peftscope.train.meta_kernels import Target
from peftscope.train.storage import tensors_of
from peftscope.train.trace import StepTrace

__all__ = ["Counter", "Footprint", "Technique", "Workload", "footprint"]

MAX_STEPS = 10_000
"""Schedules of techniques are laid out over so many, so that the step that is counted is one of the first."""
LEARNING_RATE = 1e-4
"""Any will do: memory does not depend on it."""


@dataclass(frozen=True, kw_only=True)
class Technique:
    """What is asked about: a method with its settings, and where an experiment folder stands behind it, its name."""

    method: MethodSpec
    experiment: str | None = None


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The circumstances of the training."""

    batch_size: int
    length: int
    """Tokens in a sequence; of images the side in pixels."""
    train: TrainSpec = field(default_factory=TrainSpec)
    """Checkpointing, clipping, accumulation, the adapter's type; steps and batch size do not matter here."""
    target: Target = "accelerator"
    eval_batch_size: int | None = None
    """None scores in batches of the training's size …"""
    eval_length: int | None = None
    """… up to its length, prompt and answer together."""
    scoring: bool = True
    """Predict what scoring takes, too."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one technique takes. Bytes are whole numbers; None is unknown, and ``reason`` says why."""

    technique: str
    experiment: str | None = None
    num_trainable_params: int | None = None
    num_total_params: int | None = None
    checkpoint_bytes: int | None = None
    """Of the weight files; the most where ranks are learned."""
    checkpoint_least_bytes: int | None = None
    """The least; equal to ``checkpoint_bytes`` where nothing is learned that decides on shapes."""
    peak_train_bytes: int | None = None
    """On an accelerator what its allocator reserves; on a CPU live storage."""
    live_train_bytes: int | None = None
    """Live storage at its peak, without the allocator's rounding and gaps."""
    peak_eval_bytes: int | None = None
    breakdown: Breakdown | None = None
    """Of ``peak_train_bytes``."""
    flops_per_step: int | None = None
    notes: tuple[str, ...] = ()
    reason: str | None = None
    """Why something is missing."""
    refused: bool = False
    """The technique does not train here; the reason says why."""

    @property
    def peak_bytes(self) -> int | None:
        """Larger of the peaks of training and scoring."""
        known = [peak for peak in (self.peak_train_bytes, self.peak_eval_bytes) if peak is not None]
        return max(known) if known else None


def footprint(technique: Technique, subject: Subject, workload: Workload) -> Footprint:
    """Predict what a technique takes; what fails becomes the reason for what is missing."""
    found = _Found(technique.method.title, technique.experiment)
    failure = capture(lambda: _predict(technique, subject, workload, found))
    if failure is not None:
        found.values["reason"] = failure.reason
        found.values["refused"] = failure.status == "refused"
    return found.footprint()


@dataclass
class _Found:
    """What is known so far."""

    technique: str
    experiment: str | None
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def footprint(self) -> Footprint:
        notes = tuple(dict.fromkeys(self.notes))
        return Footprint(technique=self.technique, experiment=self.experiment, notes=notes, **self.values)


def _predict(technique: Technique, subject: Subject, workload: Workload, found: _Found) -> None:
    counter = Counter(technique.method, subject, workload, warn=found.notes.append)
    built, values = counter.built, found.values
    values["num_trainable_params"] = built.num_trainable_params
    values["num_total_params"] = built.num_total_params
    values["checkpoint_least_bytes"], values["checkpoint_bytes"] = saved_bytes(built)
    if built.card.trains:
        peak, flops = counter.training_peak(workload.batch_size, workload.length)
        values["peak_train_bytes"] = peak.reserved_bytes
        values["live_train_bytes"] = peak.live_bytes
        values["breakdown"] = peak.breakdown
        values["flops_per_step"] = flops
    if workload.scoring:
        values["peak_eval_bytes"] = counter.scoring_peak().reserved_bytes


class Counter:
    """A technique built on the ``meta`` device, to count steps of any batch size and length on.

    Args:
        method: The technique.
        subject: What it is put on.
        workload: Under which circumstances.
        warn: Takes one line for every setting that is changed or not used.

    Raises:
        TechniqueRefused: The technique does not fit the base.
    """

    def __init__(self, method: MethodSpec, subject: Subject, workload: Workload, warn: Callable[[str], None]) -> None:
        base = subject.base()
        prepare(base, workload.train)
        context = BuildContext(
            seed=0,
            max_steps=MAX_STEPS,
            learning_rate=LEARNING_RATE,
            warn=warn,
            task_type=subject.task_type,
            autocast_adapter_dtype=workload.train.autocast_adapter_dtype,
        )
        of_base = tensors_of(base)
        self.method, self.subject, self.workload = method, subject, workload
        self.built = build(base, method, context)
        self._base_sizes = storage_sizes(of_base)
        aside = {id(t) for t in left_on_host(self.built.model)} if workload.target == "accelerator" else set()
        of_model = [tensor for tensor in tensors_of(self.built.model) if id(tensor) not in aside]
        everything = storage_sizes([*of_base, *of_model])
        self._adapter_sizes = everything[len(self._base_sizes) :]

    def training_peak(self, batch_size: int, length: int) -> tuple[Peak, int]:
        """Peak of a training step in its steady state, and its floating-point operations."""
        model, train = self.built.model, self.workload.train
        optimizer = self._optimizer()
        batch = self.subject.batch(batch_size, length)
        inputs = [value for value in batch.values() if isinstance(value, Tensor)]
        # Two micro-batches stand for any number: the second meets the gradients of the first.
        micro = [batch] * min(2, train.accumulation)
        trace = StepTrace([*tensors_of(model), *inputs], self.workload.target)
        kinds = Kinds(trace, self.subject.vocab_size)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        handles: list[Any] = [
            parameter.register_post_accumulate_grad_hook(kinds.gradient)  # type: ignore[no-untyped-call]
            for parameter in trained
        ]
        handles.append(optimizer.register_step_pre_hook(kinds.optimizer_begins))
        hooks = Hooks(penalty=self.built.penalty, after_step=self.built.after_step)
        model.train()
        try:
            with steps_on_shapes(), trace:
                train_step(model, self.subject, micro, optimizer, train, step=1, hooks=hooks)
                kinds.ended()
        finally:
            for handle in handles:
                handle.remove()
        return self._peak(trace, kinds, inputs), trace.flops * train.accumulation // len(micro)

    def scoring_peak(self) -> Peak:
        """Peak of scoring, at its longest."""
        model, load = self.built.model, self.workload
        trace = StepTrace(tensors_of(model), load.target)
        kinds = Kinds(trace, self.subject.vocab_size)
        with steps_on_shapes(), evaluating(model), torch.no_grad(), trace:
            self.subject.score(model, load.eval_batch_size or load.batch_size, load.eval_length or load.length)
            kinds.ended()
        return self._peak(trace, kinds, [])

    def _optimizer(self) -> torch.optim.Optimizer:
        extra = {key: value for key, value in self.method.optimizer.items() if key != "weight_decay"}
        optimizer = self.built.make_optimizer(OptimizerSettings(learning_rate=LEARNING_RATE, extra=extra))
        if self.workload.target == "accelerator":
            for group in optimizer.param_groups:
                if group.get("foreach", True) is None:
                    group["foreach"] = True  # as PyTorch chooses there: a working copy of all that is trained
        return optimizer

    def _peak(self, trace: StepTrace, kinds: Kinds, inputs: list[Tensor]) -> Peak:
        beside = [*self._adapter_sizes, *storage_sizes(inputs)]
        return peak_of(trace, kinds, base=self._base_sizes, adapter=beside, target=self.workload.target)
