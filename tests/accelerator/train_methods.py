"""Losses of training every method on a small Llama for three steps, on the CPU and on the simulated accelerator.

python train_methods.py MEMORY        prints one JSON object: method -> device -> losses, or what was said instead
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.capture import capture
from peftscope.methods import catalog
from peftscope.methods.build import BuildContext, build
from peftscope.methods.optimizers import OptimizerSettings
from peftscope.models.kinds.causal_lm.inputs import TextInputs
from peftscope.models.kinds.causal_lm.loss import causal_lm_loss
from peftscope.schema.study import MethodSpec, TrainSpec
from peftscope.training.loop import Hooks, train_step
from peftscope.training.memory_settings import prepare
from small_methods import random_batch, small_knobs
from tiny import tiny_llama, tiny_tokenizer

STEPS = 3
Batch = dict[str, Tensor]


class NextToken:
    """What a training step asks of a task."""

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Loss of the labelled tokens."""
        return causal_lm_loss(model, batch)


def losses(card: Any, device: str, memory: str) -> list[float]:
    """Loss of every step."""

    def batch(seed: int) -> Batch:
        return {key: value.to(device) for key, value in random_batch(seed).items()}

    spec = TrainSpec(memory=memory, max_steps=STEPS)
    context = BuildContext(
        seed=0,
        max_steps=STEPS,
        learning_rate=1e-3,
        warn=lambda line: None,
        calibration=lambda: iter([batch(0)]),
        task_type="CAUSAL_LM",
        inputs=TextInputs(tiny_tokenizer()),
        processor=tiny_tokenizer(),
    )
    base = tiny_llama().to(device)
    prepare(base, spec)
    torch.manual_seed(0)
    built = build(base, MethodSpec(name=card.name, knobs=small_knobs(card)), context)
    optimizer = built.make_optimizer(OptimizerSettings(learning_rate=1e-3))
    built.model.train()
    hooks = Hooks(after_step=built.after_step, penalty=built.penalty)
    places = {tensor.device.type for tensor in built.model.parameters() if tensor.requires_grad}
    assert places == {device}, f"trained parameters lie on {places}"
    return [
        train_step(built.model, NextToken(), [batch(step)], optimizer, spec, step=step, hooks=hooks)[0]
        for step in range(1, STEPS + 1)
    ]


def _note(found: dict[str, Any], card: Any, device: str, memory: str) -> None:
    found[device] = losses(card, device, memory)


def main(memory: str) -> None:
    """Print what every method comes to."""
    found: dict[str, dict[str, Any]] = {}
    for name, card in catalog.cards().items():
        if card.refused is not None or name == catalog.BASE:
            continue
        found[name] = {}
        for device in ("cpu", "simulated"):
            result: list[list[float]] = []
            failure = capture(
                lambda card=card, device=device, result=result: result.append(losses(card, device, memory))
            )
            found[name][device] = result[0] if failure is None else failure.reason
    print(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1])
