"""How far one model is from another on the same inputs, as a share of what the adapter does at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from peftscope.convert.inputs import Inputs
from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.base import LoadedModel

ROWS = 128
"""Compared at once: an output may be as wide as a vocabulary."""
__all__ = ["Distance", "answers_of", "distance", "distance_of", "outputs_of", "same_answers"]


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Of a model's outputs from wanted ones."""

    squared: float
    """Sum of the squared differences."""
    figures: dict[str, float] = field(default_factory=dict)
    """The kind's own, means over all rows."""

    def share_of(self, effect: Distance) -> float:
        """Root of the squared distance, as a share of another one: the base's."""
        if effect.squared == 0.0:
            return 0.0 if self.squared == 0.0 else math.inf
        return math.sqrt(self.squared / effect.squared)


@torch.no_grad()
def outputs_of(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """Outputs of a model on every batch, on the CPU."""
    with evaluating(model):
        return [inputs.outputs(model, batch).cpu() for batch in inputs.batches]


@torch.no_grad()
def distance(model: nn.Module, wanted: Sequence[Tensor], inputs: Inputs) -> Distance:
    """How far a model is from wanted outputs.

    Args:
        model: The one that is measured.
        wanted: As ``outputs_of`` gave them.
        inputs: What they belong to.
    """
    with evaluating(model):
        return distance_of((inputs.outputs(model, batch).cpu() for batch in inputs.batches), wanted, inputs)


def distance_of(outputs: Iterable[Tensor], wanted: Sequence[Tensor], inputs: Inputs) -> Distance:
    """How far outputs are from wanted ones of the same inputs."""
    squared, count = 0.0, 0
    sums: dict[str, float] = {}
    for given, right in zip(outputs, wanted, strict=True):
        count += len(right)
        for some, wanted_some in zip(torch.split(given, ROWS), torch.split(right, ROWS), strict=True):
            squared += float((some - wanted_some).double().square().sum())
            for name, values in inputs.kind.differences(wanted_some, some).items():
                sums[name] = sums.get(name, 0.0) + float(values.double().sum())
    return Distance(squared=squared, figures={name: value / count for name, value in sums.items()})


def answers_of(loaded: LoadedModel, model: nn.Module, inputs: Inputs | None) -> list[str]:
    """What a model answers to the beginnings of inputs; nothing where there are none.

    Args:
        loaded: The base.
        model: With a method or without.
        inputs: As outputs are compared on.
    """
    return [] if inputs is None else inputs.kind.answers(loaded, model, inputs.batches)


def same_answers(wanted: Sequence[str], given: Sequence[str]) -> dict[str, float]:
    """How many answers are the same word for word, as a figure; none where nothing is answered."""
    if not wanted:
        return {}
    same = sum(one == other for one, other in zip(wanted, given, strict=True))
    return {"same_answers": same / len(wanted)}
