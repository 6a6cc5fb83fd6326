"""What a small model to try methods on has to offer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.errors import MethodRefused
from peftscope.methods.context import Inputs
from peftscope.models.kinds.base import Batch, ModelKind

__all__ = ["Miniature", "RowInputs", "seeded"]

SEED = 11
"""Of the random weights."""


@dataclass(frozen=True, kw_only=True)
class Miniature:
    """A small model, the same at every call, and what it reads."""

    name: str
    capability: str
    """What training on it shows; one of the names in ``methods.capabilities``."""
    make: Callable[[], nn.Module]
    """The model, in ``eval`` mode, without dropout."""
    batch: Callable[[int, int], Batch]
    """Rows from a seed and their number, such that ``model(**batch)`` runs; with what a loss needs."""
    task_type: str | None = None
    """Member of ``peft.TaskType``."""
    processor: Any = None
    inputs: Inputs | None = None
    """What methods may start from, where that is defined."""
    targets: tuple[str, ...] | None = None
    """What is adapted; None leaves it to the policy."""
    head: str | None = None
    """Name of a module that can be trained whole beside an adapter."""
    table: str | None = None
    """Name of the table of tokens."""
    tokens: tuple[int, ...] = ()
    """Two rows of the table that the first batch of a training has, and that a loss reaches."""
    kind: ModelKind | None = None
    """The kind of model this is, where peftscope trains such."""
    part: str | None = None
    """What a pipeline calls such a model; None where it is in none."""
    quantized: Callable[[str, Path], nn.Module] | None = None
    """The model with its linear layers packed as ``int8``, ``nf4`` or ``torchao``; a folder to write into."""
    shape: tuple[str, ...] = ()
    """How it was made smaller than what it stands for; empty where it was not."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The model's own, or the mean square of what it puts out less a fixed pattern."""
        found = model(**batch)
        own = getattr(found, "loss", None)
        if own is not None:
            assert isinstance(own, Tensor)
            return own
        given = _tensor_of(found)
        pattern = torch.linspace(-1.0, 1.0, given.shape[-1], dtype=given.dtype)
        return (given - pattern).square().mean()

    @torch.no_grad()
    def outputs(self, model: nn.Module, batch: Batch, **options: Any) -> Tensor:
        """What a model puts out of a batch, rows first; of what a method puts before it, nothing."""
        given = _tensor_of(model(**{key: value for key, value in batch.items() if key != "labels"}, **options))
        length = next((len(value[0]) for key, value in batch.items() if key == "input_ids"), None)
        return given[:, -length:] if length is not None and given.ndim == 3 else given


class RowInputs:
    """What methods may start from, of any batch whose tensors have a row for each sample."""

    def samples(self, batch: Batch) -> Iterator[Batch]:
        """Each row on its own, without what only a loss needs."""
        kept = {name: value for name, value in batch.items() if name != "labels"}
        for row in range(len(next(iter(kept.values())))):
            yield {name: value[row : row + 1] for name, value in kept.items()}

    def num_positions(self, batch: Batch, *, ignored_label: int | None = None) -> int:
        """Rows, times what each has of positions."""
        first = next(iter(batch.values()))
        return int(first.numel() // first.shape[-1]) if first.is_floating_point() else int(first.numel())

    def cache_of(self, base: nn.Module, text: str, least: int) -> Any:
        """There is none.

        Raises:
            MethodRefused: Always.
        """
        raise MethodRefused("a prefix starts from a text (init_kv_cache_prefix) on models that continue one alone")


def _tensor_of(found: Any) -> Tensor:
    """The tensor of a model's answer: class scores, noise, or the first there is."""
    for name in ("logits", "sample", "last_hidden_state"):
        value = getattr(found, name, None)
        if isinstance(value, Tensor):
            return value
    given = found if isinstance(found, Tensor) else found[0]
    assert isinstance(given, Tensor)
    return given


def seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The same random weights at every call, in ``eval`` mode, without dropout; the global state is left as it was."""

    def made() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            model = make()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        config = getattr(model, "config", None)
        if config is not None and hasattr(config, "use_cache"):
            config.use_cache = False
        return model.eval()

    return made
