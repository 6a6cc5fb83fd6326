"""A short distillation: a plain LoRA trained to put out what the adapter does, on the calibration inputs alone."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.convert.inputs import Inputs
from peftscope.errors import SpecError
from peftscope.methods.plain_lora import balanced_factors
from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.base import Batch
from peftscope.schema.study import TrainSpec
from peftscope.tasks.base import to_device
from peftscope.training.loop import make_schedule, train_step

__all__ = ["Refined", "refine"]

RATES = (0.01, 0.003)
"""Learning rates as shares of the size of each factor's entries; the second is tried where the first brings little."""
ENOUGH = 0.7
"""Share of the divergence down to which a rate has to bring it, or another one is tried."""
GUARDED = 4
"""Every so many-th batch is kept to see whether it helps."""
WANTED = "wanted"
"""Key of the original's outputs in a batch."""


@dataclass(frozen=True, kw_only=True)
class Refined:
    """What a distillation brought."""

    steps: int
    before: float
    """Divergence a row on calibration inputs that were kept from it."""
    after: float

    @property
    def helped(self) -> bool:
        """Whether it is kept."""
        return self.after < self.before


@dataclass(frozen=True)
class _Distillation:
    """The loss of outputs against the original's."""

    inputs: Inputs

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        given = self.inputs.kind.outputs(
            self.inputs.processor, model, {key: value for key, value in batch.items() if key != WANTED}
        )
        return self.inputs.kind.divergence(batch[WANTED].to(given.device), given).sum(), len(given)

    @torch.no_grad()
    def mean(self, model: nn.Module, batches: Sequence[Batch]) -> float:
        """Over some batches."""
        device = next(model.parameters()).device
        with evaluating(model):
            each = [self.loss(model, to_device(batch, device)) for batch in batches]
        return sum(float(total) for total, _ in each) / sum(count for _, count in each)


def refine(plain: Any, inputs: Inputs, wanted: Sequence[Tensor], *, steps: int, seed: int = 0) -> Refined:
    """Train the factors, in place; they stay as they were where that does not help on inputs kept from it.

    Args:
        plain: With the plain LoRA.
        inputs: To train on.
        wanted: Outputs of the original adapter on them.
        steps: Of one batch each.
        seed: Order of the batches.

    Raises:
        SpecError: There are too few inputs.
        Diverged: The loss is no number any more.
    """
    batches = [{**batch, WANTED: output} for batch, output in zip(inputs.batches, wanted, strict=False)]
    kept, used = batches[::GUARDED], [batch for index, batch in enumerate(batches) if index % GUARDED]
    if not used:
        raise SpecError("convert", ["refine needs more calibration inputs: some are kept to see whether it helps"])
    task = _Distillation(inputs)
    factors = balanced_factors(plain)
    start = deepcopy([factor.data for factor in factors])
    before = best = task.mean(plain, kept)
    found = start
    for rate in RATES:
        _set(factors, start)
        _train(plain, task, factors, used, steps=steps, rate=rate, seed=seed)
        after = task.mean(plain, kept)
        if after < best:
            best, found = after, deepcopy([factor.data for factor in factors])
        if best < ENOUGH * before:
            break
    _set(factors, found)
    for factor in factors:
        factor.requires_grad_(False)
    return Refined(steps=steps, before=before, after=best)


def _train(
    plain: Any,
    task: _Distillation,
    factors: Sequence[nn.Parameter],
    batches: Sequence[Batch],
    *,
    steps: int,
    rate: float,
    seed: int,
) -> None:
    """Go down the divergence; learning rates are shares of the size of each factor's entries."""
    optimizer = torch.optim.AdamW(
        [{"params": [factor], "lr": rate * float(factor.data.square().mean().sqrt())} for factor in factors],
        weight_decay=0.0,
    )
    spec = TrainSpec(max_steps=steps, grad_norm_clip=None)
    schedule = make_schedule(optimizer, spec)
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    with evaluating(plain):
        for step in range(1, steps + 1):
            order = order or torch.randperm(len(batches), generator=generator).tolist()
            train_step(plain, task, [batches[order.pop()]], optimizer, spec, step=step)
            schedule.step()


@torch.no_grad()
def _set(factors: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for factor, value in zip(factors, values, strict=True):
        factor.data.copy_(value)
