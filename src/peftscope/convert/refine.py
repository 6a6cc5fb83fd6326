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

RELATIVE_RATE = 0.01
"""Learning rate as a share of the size of each factor's entries."""
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
    before = task.mean(plain, kept)
    factors = balanced_factors(plain)
    start = deepcopy([factor.data for factor in factors])
    optimizer = torch.optim.AdamW(
        [{"params": [factor], "lr": RELATIVE_RATE * float(factor.data.square().mean().sqrt())} for factor in factors],
        weight_decay=0.0,
    )
    spec = TrainSpec(max_steps=steps, grad_norm_clip=None)
    schedule = make_schedule(optimizer, spec)
    generator = torch.Generator().manual_seed(seed)
    with evaluating(plain):
        for step in range(1, steps + 1):
            if (step - 1) % len(used) == 0:
                order = torch.randperm(len(used), generator=generator).tolist()
            train_step(plain, task, [used[order[(step - 1) % len(used)]]], optimizer, spec, step=step)
            schedule.step()
    for factor in factors:
        factor.requires_grad_(False)
    found = Refined(steps=steps, before=before, after=task.mean(plain, kept))
    if not found.helped:
        for factor, value in zip(factors, start, strict=True):
            factor.data.copy_(value)
    return found
