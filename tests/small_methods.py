"""Fixtures for tests of methods: a tiny base to put them on, and the circumstances of a build."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from peftscope.methods.build import BuildContext, Built
from peftscope.methods.optimizers import OptimizerSettings
from peftscope.models.kinds.causal_lm.inputs import TextInputs

NARROW: dict[str, dict[str, Any]] = {
    # The base is 64 wide with keys and values of 32: what must divide a width or stay below it is smaller.
    "c3a": {"block_size": 16},
    "miss-mini": {"mini_r": 4},
    "vblora": {"vector_length": 16},
    "adalora": {"init_r": 6, "target_r": 4},
    # The two stages need more steps than a test has; the mask is set at the second.
    "adamss-asa": {"init_warmup": 1, "final_warmup": 3, "mask_interval": 1, "asa_target_subspaces": 8},
}
"""Knobs for the tiny base, by card."""


def small_knobs(card: Any) -> dict[str, Any]:
    """Knobs that make a card fit the tiny base."""
    rank = card.knobs.get("r")
    # KaSA, LoRA-GA and MiCA take no rank near the narrowest side, which is 32.
    small = {"r": 8} if isinstance(rank, int) and rank > 8 and card.peft_type != "OFT" else {}
    return {**small, **NARROW.get(card.name, {})}


@pytest.fixture
def knobs_for() -> Callable[[Any], dict[str, Any]]:
    """Makes knobs for the tiny base from a card."""
    return small_knobs


def random_batch(seed: int, size: int = 4, length: int = 24) -> dict[str, Tensor]:
    """A batch of random tokens, all of them labelled."""
    # Token ids from 0 on, so that begin and end tokens occur: trainable-tokens learns from nothing else.
    ids = torch.randint(0, 64, (size, length), generator=torch.Generator().manual_seed(seed))
    ids[:, 0], ids[:, -1] = 0, 1
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}


def train(
    built: Built, batch: Callable[..., dict[str, Tensor]], rate: float, steps: Iterable[int] = range(1, 4)
) -> None:
    """Train a few steps, each on the batch of its number."""
    optimizer = built.make_optimizer(OptimizerSettings(learning_rate=rate))
    built.model.train()
    for step in steps:
        loss = built.model(**batch(step)).loss
        if built.penalty is not None:
            loss = loss + built.penalty()
        loss.backward()
        optimizer.step()
        if built.after_step is not None:
            built.after_step(step)
        optimizer.zero_grad()
    built.model.eval()


@torch.no_grad()
def logits_of(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """Logits of a batch, in the model's mode."""
    logits: Tensor = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    return logits


@pytest.fixture
def batch() -> Callable[..., dict[str, Tensor]]:
    """Makes a batch of random tokens from a seed."""
    return random_batch


@pytest.fixture
def make_base(tiny_llama: Callable[..., LlamaForCausalLM]) -> Callable[[], LlamaForCausalLM]:
    """Makes the same base again and again."""
    return tiny_llama


@pytest.fixture
def context(tiny_tokenizer: PreTrainedTokenizerFast) -> Callable[..., BuildContext]:
    """Makes the circumstances of a three-step training."""

    def make(**changes: Any) -> BuildContext:
        def calibration() -> Iterator[dict[str, Tensor]]:
            yield random_batch(changes.get("data_seed", 0))

        settings: dict[str, Any] = {
            "seed": 0,
            "max_steps": 3,
            "learning_rate": 1e-3,
            "warn": lambda line: None,
            "calibration": calibration,
            "task_type": "CAUSAL_LM",
            "inputs": TextInputs(tiny_tokenizer),
            "processor": tiny_tokenizer,
        }
        settings.update({key: value for key, value in changes.items() if key != "data_seed"})
        return BuildContext(**settings)

    return make
