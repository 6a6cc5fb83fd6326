"""Models around one layer of a type, to see which types a method adapts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from peftscope.models.kinds.base import Batch
from peftscope.models.miniatures.base import Miniature, RowInputs, seeded

__all__ = ["LAYERS", "of_layer"]

WIDTH, LENGTH, CHANNELS, SIDE, WORDS = 256, 16, 64, 6, 40
LAYER, READ = "layer", 8
MARKS = SimpleNamespace(bos_token_id=0, eos_token_id=1)
"""Rows of a table of tokens that methods about tokens take by themselves."""


@dataclass(frozen=True)
class Answer:
    """What a model around one layer gives."""

    sample: Tensor
    loss: Tensor | None


class OneLayer(nn.Module):
    """A layer of a type, and a linear one that reads what it gives.

    Args:
        layer: The one that is adapted.
        features: What it gives of each row, flattened.
    """

    def __init__(self, layer: nn.Module, features: int) -> None:
        super().__init__()
        self.layer = layer
        self.readout = nn.Linear(features, READ)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Answer:
        """(rows, 8) of whatever the layer reads, and how far that is from what it should be."""
        if isinstance(self.layer, nn.MultiheadAttention) or not self._is_plain():
            given = self.layer(x, x, x)[0]
        else:
            given = self.layer(x)
        found = self.readout(torch.tanh(given.flatten(1)))
        return Answer(sample=found, loss=None if labels is None else (found - labels).square().mean())

    def _is_plain(self) -> bool:
        wrapped = getattr(self.layer, "get_base_layer", None)
        return not isinstance(wrapped() if callable(wrapped) else self.layer, nn.MultiheadAttention)


def _floats(*shape: int) -> Callable[[int, int], Batch]:
    def batch(seed: int, rows: int) -> Batch:
        draw = torch.Generator().manual_seed(seed)
        return {
            "x": torch.randn(rows, *shape, generator=draw),
            "labels": torch.randn(rows, READ, generator=draw),
        }

    return batch


def _words(seed: int, rows: int) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randint(0, WORDS, (rows, LENGTH), generator=draw),
        "labels": torch.randn(rows, READ, generator=draw),
    }


_TYPES: dict[str, tuple[Callable[[], nn.Module], int, Callable[[int, int], Batch]]] = {
    "linear": (lambda: nn.Linear(WIDTH, WIDTH), LENGTH * WIDTH, _floats(LENGTH, WIDTH)),
    "embedding": (lambda: nn.Embedding(WORDS, WIDTH), LENGTH * WIDTH, _words),
    "conv1d": (
        lambda: nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1),
        CHANNELS * SIDE,
        _floats(CHANNELS, SIDE),
    ),
    "conv2d": (
        lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        CHANNELS * SIDE**2,
        _floats(CHANNELS, SIDE, SIDE),
    ),
    "conv3d": (
        lambda: nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1),
        CHANNELS * SIDE**3,
        _floats(CHANNELS, SIDE, SIDE, SIDE),
    ),
    "transformers-conv1d": (lambda: Conv1D(WIDTH, WIDTH), LENGTH * WIDTH, _floats(LENGTH, WIDTH)),
    "multihead-attention": (
        lambda: nn.MultiheadAttention(WIDTH, 4, batch_first=True),
        SIDE * WIDTH,
        _floats(SIDE, WIDTH),
    ),
}
LAYERS = tuple(_TYPES)
"""Types that stand alone; experts need a model around them."""


def of_layer(capability: str) -> Miniature:
    """The model around a layer of a type, one of ``LAYERS``."""
    layer, features, batch = _TYPES[capability]

    def make() -> nn.Module:
        return OneLayer(layer(), features)

    more: dict[str, Any] = {"targets": (LAYER,), "inputs": RowInputs(), "processor": MARKS}
    return Miniature(name=capability, capability=capability, make=seeded(make), batch=batch, **more)
