"""Inputs on which models are compared, and what layers are given on them: the second moments that say what matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.base import Batch, ModelKind
from peftscope.tasks.base import to_device

__all__ = ["Inputs", "second_moments"]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Batches, and how a kind of model reads them."""

    kind: ModelKind
    processor: Any
    batches: Sequence[Batch]
    """On the CPU."""

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """What a model puts out of one: (rows, width), on its device."""
        return self.kind.outputs(self.processor, model, to_device(batch, next(model.parameters()).device))


@torch.no_grad()
def second_moments(model: nn.Module, layers: Sequence[str], inputs: Inputs) -> dict[str, Tensor]:
    """Mean of x xᵀ over the inputs of some layers, by their names: (in, in), float32.

    Layers that are given the very same tensor share their moments. What is no vector per position (ids, pictures) has
    none.

    Args:
        model: Whose layers they are.
        layers: Full names.
        inputs: What it is given.
    """
    found: dict[str, _Sum] = {}
    by_input: list[tuple[Tensor, _Sum]] = []

    heard: Tensor | None = None

    def note(name: str, given: Any) -> None:
        if not isinstance(given, Tensor) or not given.is_floating_point() or given.ndim < 2:
            return
        for seen, held in by_input:
            if seen is given:
                found[name] = held
                return
        held = found.setdefault(name, _Sum())
        held.add(given if heard is None or heard.shape != given.shape[:-1] else given[heard.to(given.device)])
        by_input.append((given, held))
        del by_input[:-4]  # the next layers alone may have the same input

    wanted = set(layers)
    handles = [
        module.register_forward_pre_hook(lambda _, args, name=name: note(name, args[0] if args else None))
        for name, module in model.named_modules()
        if name in wanted
    ]
    try:
        with evaluating(model):
            for batch in inputs.batches:
                by_input.clear()
                heard = inputs.kind.heard(batch)
                inputs.outputs(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: held.mean() for name, held in found.items()}


class _Sum:
    """A sum of outer products."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    def add(self, given: Tensor) -> None:
        rows = given.detach().flatten(0, -2).float()
        product = rows.T @ rows
        self.total = product if self.total is None else self.total.add_(product)
        self.count += len(rows)

    def mean(self) -> Tensor:
        """Ends the sum: the same tensor, for all that share it."""
        assert self.total is not None
        if self.count:
            self.total, self.count = self.total.div_(self.count), 0
        return self.total
