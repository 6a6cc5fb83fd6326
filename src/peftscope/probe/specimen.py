"""A method on a small model: built, trained twice from two seeds, saved."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.methods import checkpoint
from peftscope.methods.build import Built, build
from peftscope.methods.card import Card
from peftscope.methods.context import BuildContext
from peftscope.methods.optimizers import OptimizerSettings
from peftscope.models.kinds.base import Batch
from peftscope.models.miniatures.base import Miniature
from peftscope.schema.study import MethodSpec

__all__ = ["EXACT", "Specimen", "hushed", "trained_weights"]

EXACT = 0.01
"""Share of what an adapter does, up to which outputs count as the same. Wrong merges and conversions miss by 0.02 and
more; rounding in single precision by less than 0.001, and by up to 0.007 where little was learned."""
STEPS, ROWS = 4, 4
WIDTH = 256
"""Of the small models."""


class Specimen:
    """A method on a small model. What takes time is done once, when it is first asked for.

    ``kept`` is for checks that build on one another.

    Args:
        miniature: The model.
        card: Of the method.
        folder: An empty one, for checkpoints.
    """

    def __init__(self, miniature: Miniature, card: Card, folder: Path) -> None:
        self.miniature, self.card, self.folder = miniature, card, folder
        self.kept: dict[str, Any] = {}

    def build(self, base: nn.Module | None = None, *, seed: int = 0, knobs: dict[str, Any] | None = None) -> Built:
        """The method on a base, untrained.

        Args:
            base: A fresh one where None.
            seed: Of the adapter's initialisation.
            knobs: Of the method.
        """
        miniature = self.miniature
        method = MethodSpec(
            name=self.card.name,
            knobs=knobs or {},
            targets=list(miniature.targets) if miniature.targets else None,
        )

        def calibration() -> Iterator[Batch]:
            yield miniature.batch(7, ROWS)

        context = BuildContext(
            seed=0,  # of what adapters of one base have to share: random projections, masks
            max_steps=STEPS,
            learning_rate=self.rate,
            warn=lambda line: None,
            task_type=miniature.task_type,
            calibration=calibration,
            inputs=miniature.inputs,
            processor=miniature.processor,
            unchecked=True,
        )
        base = miniature.make() if base is None else base
        torch.manual_seed(seed)
        return build(base, method, context)

    @property
    def rate(self) -> float:
        """Learning rate of the trainings."""
        assert self.card.rate is not None
        return self.card.rate.centre(WIDTH)

    def train(self, built: Built, *, seed: int = 0, steps: int = STEPS) -> None:
        """Train on batches of a seed; leaves the model in ``eval`` mode."""
        optimizer = built.make_optimizer(OptimizerSettings(learning_rate=self.rate))
        built.model.train()
        torch.manual_seed(seed)
        for step in range(1, steps + 1):
            self.backward(built, self.miniature.batch(100 * seed + step, ROWS))
            optimizer.step()
            if built.after_step is not None:
                built.after_step(step)
            optimizer.zero_grad()
        built.model.eval()

    def backward(self, built: Built, batch: Batch, model: nn.Module | None = None) -> Tensor:
        """One pass forth and back; gives the loss.

        Args:
            built: The method on its base.
            batch: For both.
            model: Another form of the same, such as a compiled one.
        """
        loss = self.miniature.loss(built.model if model is None else model, batch)
        whole = loss if built.penalty is None else loss + built.penalty()
        whole.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    @cached_property
    def _first(self) -> tuple[Built, dict[str, Tensor]]:
        built = self.build(seed=0)
        self.train(built, seed=0)
        return built, trained_weights(built)  # copied now: looking at the outputs changes the weights of some

    @property
    def first(self) -> Built:
        """Trained from seed 0. To be looked at, not to be changed."""
        return self._first[0]

    @property
    def first_weights(self) -> dict[str, Tensor]:
        """What it learned, as its training ended."""
        return self._first[1]

    @cached_property
    def first_folder(self) -> Path:
        """Its checkpoint."""
        return self._saved(self.first, "first")

    @cached_property
    def second_folder(self) -> Path:
        """Checkpoint of another training, from seed 1."""
        built = self.build(seed=1)
        self.train(built, seed=1)
        return self._saved(built, "second")

    def _saved(self, built: Built, name: str) -> Path:
        checkpoint.save(built, self.folder / name, base="base")
        return self.folder / name

    def loaded(self, folder: Path | None = None, base: nn.Module | None = None) -> Any:
        """The first adapter, or another, on a fresh base, or on a given one."""
        return checkpoint.load(base or self.miniature.make(), folder or self.first_folder, self.card)

    @cached_property
    def batch(self) -> Batch:
        """What outputs are compared on."""
        return self.miniature.batch(55, ROWS)

    @cached_property
    def batch_with_labels(self) -> Batch:
        """What gradients are compared on."""
        return self.miniature.batch(56, ROWS)

    def outputs(self, model: nn.Module, **options: Any) -> Tensor:
        """Of a model in ``eval`` mode, on that batch."""
        return self.miniature.outputs(model, self.batch, **options)

    @cached_property
    def base_outputs(self) -> Tensor:
        """Without the method."""
        return self.outputs(self.miniature.make())

    @cached_property
    def first_outputs(self) -> Tensor:
        """With the first adapter, as it was trained."""
        return self.outputs(self.first.model)

    @cached_property
    def second_outputs(self) -> Tensor:
        """With the second one."""
        return self.outputs(self.loaded(self.second_folder))

    def away(self, given: Tensor, wanted: Tensor) -> float:
        """Distance of outputs, as a share of what the adapter does to the base's."""
        effect = float((wanted - self.base_outputs).norm())
        return float((given - wanted).norm()) / effect if effect else float("inf")


def trained_weights(built: Built) -> dict[str, Tensor]:
    """Copies of what is trained, by name."""
    return {name: p.detach().clone() for name, p in built.model.named_parameters() if p.requires_grad}


@contextmanager
def hushed() -> Iterator[None]:
    """Without what libraries warn and log of methods that are tried on purpose where they may not fit."""
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
