"""What layers are given on real inputs: the second moments that say which of their outputs matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.likeness import Likeness

__all__ = ["second_moments"]


@torch.no_grad()
def second_moments(model: nn.Module, layers: Sequence[str], likeness: Likeness) -> dict[str, Tensor]:
    """Mean of x xᵀ over the inputs of some layers, by their names: (in, in), float32.

    Layers that are given the very same tensor share their moments. What is no vector per position (ids, pictures) has
    none.

    Args:
        model: Whose layers they are.
        layers: Full names.
        likeness: The inputs.
    """
    found: dict[str, _Sum] = {}
    by_input: list[tuple[Tensor, _Sum]] = []

    def note(name: str, given: Any) -> None:
        if not isinstance(given, Tensor) or not given.is_floating_point() or given.ndim < 2:
            return
        for seen, held in by_input:
            if seen is given:
                found[name] = held
                return
        held = found.setdefault(name, _Sum())
        held.add(given)
        by_input.append((given, held))
        del by_input[:-4]  # the next layers alone may have the same input

    handles = [
        module.register_forward_pre_hook(lambda _, args, name=name: note(name, args[0] if args else None))
        for name, module in model.named_modules()
        if name in set(layers)
    ]
    try:
        with evaluating(model):
            for batch in likeness.batches:
                by_input.clear()
                likeness.outputs(model, batch)
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
        assert self.total is not None
        return self.total / self.count
