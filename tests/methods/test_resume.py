"""Pausing at a rung and going on is, bit for bit, the training that did not pause: for every method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from peftscope.methods import catalog
from peftscope.methods.build import build
from peftscope.methods.card import Card
from peftscope.methods.optimizers import OptimizerSettings
from peftscope.schema.study import MethodSpec, TrainSpec
from peftscope.training.loop import Fit, Hooks
from peftscope.training.pause import Pauses
from peftscope.training.result import FitResult
from peftscope.training.seeding import seed_everything
from tasks.toy import ToyTask

SPEC = TrainSpec(max_steps=6, warmup_fraction=0.3, accumulation=2)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled"),
    pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk"),
]


class _Tokens(ToyTask):
    """Random tokens in an order that hangs on the seed."""

    name = "tokens"

    def __init__(self, batch: Callable[..., dict[str, Tensor]]) -> None:
        self._batch = batch

    def batches(self, seed: int) -> Iterator[dict[str, Any]]:
        step = 100 * seed
        while True:
            step += 1
            yield self._batch(step)

    def num_samples(self, batch: dict[str, Any]) -> int:
        return len(batch["input_ids"])

    num_units = num_samples

    def loss(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, int]:
        count = batch["labels"][:, 1:].numel()
        return model(**batch).loss * count, count


class _Training:
    """Builds the same training again and again."""

    def __init__(
        self,
        card: Card,
        make_base: Callable[[], nn.Module],
        context: Callable[..., Any],
        batch: Callable[..., dict[str, Tensor]],
        knobs: dict[str, Any],
    ) -> None:
        self.card, self.make_base, self.context, self.knobs = card, make_base, context, knobs
        self.task = _Tokens(batch)

    def go(self, until: int | None, state: Path | None, conditions: str = "a") -> tuple[FitResult, dict[str, Tensor]]:
        seed_everything(3)
        built = build(self.make_base(), MethodSpec(name=self.card.name, knobs=self.knobs), self.context())
        assert self.card.rate is not None
        optimizer = built.make_optimizer(OptimizerSettings(learning_rate=self.card.rate.default))
        seed_everything(3)
        result = FitResult()
        Fit(
            built.model,
            self.task,
            SPEC,
            optimizer=optimizer,
            seed=3,
            result=result,
            hooks=Hooks(after_step=built.after_step, penalty=built.penalty),
            pauses=Pauses(rungs=(2, 4), measure=lambda: 0.5, until=until, state=state, conditions=conditions),
        ).run()
        return result, {name: p.detach().clone() for name, p in built.model.named_parameters()}


@pytest.mark.parametrize("card", [c for c in catalog.cards().values() if c.trains], ids=lambda card: card.name)
def test_pausing_twice_does_not_change_the_training_result(
    card: Card,
    make_base: Callable[[], nn.Module],
    context: Callable[..., Any],
    batch: Callable[..., dict[str, Tensor]],
    knobs_for: Callable[[Card], dict[str, Any]],
    tmp_path: Path,
) -> None:
    training = _Training(card, make_base, context, batch, knobs_for(card))
    state = tmp_path / "state.pt" if card.resumes else None
    whole, weights = training.go(None, None)
    training.go(2, state)
    training.go(4, state)
    resumed, again = training.go(None, state)
    assert [replace(p, train_time_s=0.0) for p in resumed.curve] == [replace(p, train_time_s=0.0) for p in whole.curve]
    assert resumed.num_samples == whole.num_samples == 2 * 4 * SPEC.max_steps
    assert [name for name, weight in weights.items() if not torch.equal(weight, again[name])] == []


def test_a_resumed_training_does_the_remaining_steps_only(
    make_base: Callable[[], nn.Module],
    context: Callable[..., Any],
    batch: Callable[..., dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    training = _Training(catalog.card("lora"), make_base, context, batch, {"r": 4})
    state = tmp_path / "state.pt"
    drawn: list[int] = []
    training.task.loss = lambda model, b: drawn.append(1) or _Tokens.loss(training.task, model, b)  # type: ignore
    whole, _ = training.go(None, None)
    drawn.clear()
    training.go(4, state)
    assert len(drawn) == 2 * 4
    training.go(None, state)
    assert len(drawn) == 2 * 6
    training.go(4, state)
    drawn.clear()
    training.go(None, state, conditions="other data")
    assert len(drawn) == 2 * 6
    drawn.clear()
    state.write_bytes(b"damaged")
    again, _ = training.go(None, state)
    assert len(drawn) == 2 * 6
    assert again.curve[-1].train_loss == whole.curve[-1].train_loss
