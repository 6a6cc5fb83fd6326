"""Counting on the ``meta`` device: a method on a base, a step of the real loop, storages that come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.footprint.memory_peak import HeldTensor, Peak, peak_of
from peftscope.footprint.query import FootprintQuery
from peftscope.footprint.recording import Kinds, Recording, storage_sizes
from peftscope.footprint.trace import StepTrace
from peftscope.measures.storage import tensors_of
from peftscope.methods.build import BuildContext, build
from peftscope.methods.optimizers import OptimizerSettings, make_optimizer
from peftscope.methods.shapes import left_on_host, offloaded, steps_on_shapes
from peftscope.models.evaluating import evaluating
from peftscope.tasks.base import Retention
from peftscope.training.loop import Hooks, train_step
from peftscope.training.memory_settings import prepare, unmet_setting

__all__ = ["MemoryCounter", "ModelSizes"]

MAX_STEPS = 10_000
"""Schedules of methods are laid out over so many, so that the step that is counted is one of the first."""
LEARNING_RATE = 1e-4
"""Any will do: memory does not depend on it."""


@dataclass(frozen=True, kw_only=True)
class ModelSizes:
    """What is there before a step: parameters, and bytes of every storage."""

    base_sizes: list[int]
    adapter_sizes: list[int]
    """Of what the method added."""
    num_trainable_params: int
    num_total_params: int


class MemoryCounter:
    """A method built on the ``meta`` device, to count steps of any batch size and length on.

    Args:
        query: What is asked about; batch size and length are each call's own.
        warn: Takes one line for every setting that is changed or not used.

    Raises:
        MethodRefused: The method does not fit the base.
    """

    def __init__(self, query: FootprintQuery, warn: Callable[[str], None]) -> None:
        self.method, self.profile, self.workload = query.method, query.profile, query.workload
        profile, workload = self.profile, self.workload
        base = profile.base()
        prepare(base, workload.train)
        context = BuildContext(
            seed=0,
            max_steps=MAX_STEPS,
            learning_rate=LEARNING_RATE,
            warn=warn,
            task_type=profile.task_type,
            autocast_adapter_dtype=workload.train.autocast_adapter_dtype,
        )
        self._blocks = _blocks_of(base, profile.num_layers)
        of_base = tensors_of(base)
        self.built = build(base, self.method, context)
        if profile.moves:
            self.built.model._apply(torch.empty_like)  # type: ignore[no-untyped-call]
        aside: set[int] = set()
        if workload.target == "accelerator":
            host = [*offloaded(self.built.model), *([] if profile.moves else left_on_host(self.built.model))]
            aside = {id(tensor) for tensor in host}
        if workload.train.saves_loss_memory:
            with steps_on_shapes(), StepTrace([], workload.target):  # which answers for values there are not
                unmet = profile.unmet_memory_setting(self.built.model)
            if unmet is not None:
                warn(unmet_setting(workload.train, unmet))
        of_base = [tensor for tensor in of_base if id(tensor) not in aside]
        of_model = [tensor for tensor in tensors_of(self.built.model) if id(tensor) not in aside]
        base_sizes = storage_sizes(of_base)
        everything = storage_sizes([*of_base, *of_model])
        self.model = ModelSizes(
            base_sizes=base_sizes,
            adapter_sizes=everything[len(base_sizes) :],
            num_trainable_params=self.built.num_trainable_params,
            num_total_params=self.built.num_total_params,
        )

    def training_peak(self, batch_size: int, length: int) -> tuple[Peak, int]:
        """Peak of a training step in its steady state, and its floating-point operations."""
        model, train = self.built.model, self.workload.train
        optimizer = self._optimizer()
        batch = self.profile.batch(batch_size, length)
        inputs = [value for value in batch.values() if isinstance(value, Tensor)]
        # Two micro-batches stand for any number: the second meets the gradients of the first.
        micro = [batch] * min(2, train.accumulation)
        trace = StepTrace([*tensors_of(model), *inputs], self.workload.target)
        kinds = Kinds(trace, self.profile.output_width)
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
                train_step(model, self.profile, micro, optimizer, train, step=1, hooks=hooks)
                kinds.ended()
        finally:
            for handle in handles:
                handle.remove()
        peak = self._peak(kinds.recording(), self.model, inputs=inputs)
        return peak, trace.flops * train.accumulation // len(micro)

    def scoring(self, batch_size: int, length: int) -> tuple[Recording, list[int]]:
        """What comes and goes in scoring, and how many events there were when each block began."""
        return self._recorded(lambda model: self.profile.score(model, batch_size, length))

    def retaining(self, retention: Retention) -> tuple[Recording, list[int]]:
        """The same of measuring what a model lost of what its base could do."""

        def measure(model: nn.Module) -> None:
            with self.profile.as_scored(model):
                retention.rehearse(model)

        return self._recorded(measure)

    def _recorded(self, action: Callable[[nn.Module], None]) -> tuple[Recording, list[int]]:
        model = self.built.model
        trace = StepTrace([*tensors_of(model), *self._scoring_tensors()], self.workload.target)
        kinds = Kinds(trace, self.profile.output_width)
        begins: list[int] = []
        handles = [
            block.register_forward_pre_hook(lambda *_: begins.append(len(trace.events))) for block in self._blocks
        ]
        try:
            with steps_on_shapes(), evaluating(model), torch.no_grad(), trace:
                action(model)
                kinds.ended()
        finally:
            for handle in handles:
                handle.remove()
        return kinds.recording(), begins

    def scoring_peak(self, recording: Recording, model: ModelSizes | None = None) -> Peak:
        """Peak of what was recorded of scoring, beside the model (or what is given in its place), or of what scores."""
        load, model = self.workload, model or self.model
        beside = [*storage_sizes(self._scoring_tensors()), load.scorer_bytes]
        comparing = Recording(events=[(0, True), (0, False)], sizes=[load.scorer_work_bytes], kinds=["activations"])
        peaks = [self._peak(each, model, beside=beside) for each in (recording, comparing)]
        return max(peaks, key=lambda peak: peak.reserved_bytes)

    def _scoring_tensors(self) -> list[Tensor]:
        """Of what is there in scoring alone."""
        return [tensor for part in self.profile.scoring_parts() for tensor in tensors_of(part)]

    def _peak(
        self, recording: Recording, model: ModelSizes, *, inputs: Sequence[Tensor] = (), beside: Sequence[int] = ()
    ) -> Peak:
        held = HeldTensor(
            base=model.base_sizes,
            adapter=[*model.adapter_sizes, *storage_sizes(inputs)],
            beside=[*self.profile.beside_bytes, *beside],
        )
        return peak_of(recording, held, target=self.workload.target, alike=self.profile.alike)

    def _optimizer(self) -> torch.optim.Optimizer:
        extra = {key: value for key, value in self.method.optimizer.items() if key != "weight_decay"}
        name = self.built.card.optimizer or self.workload.optimizer
        settings = OptimizerSettings(learning_rate=LEARNING_RATE, extra=extra)
        optimizer = make_optimizer(name, self.built.model, settings)
        if self.workload.target == "accelerator":
            for group in optimizer.param_groups:
                if group.get("foreach", True) is None:
                    group["foreach"] = True  # as PyTorch chooses there: a working copy of all that is trained
        return optimizer


def _blocks_of(base: nn.Module, count: int | None) -> list[nn.Module]:
    """The blocks that follow one another, by their number; empty where there is no one stack of so many."""
    stacks = [module for module in base.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    return list(stacks[0]) if stacks else []
