"""What a method does besides gradient steps: calls after each step, terms added to the training loss."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from peftscope.methods.card import Card

__all__ = [
    "PENALTIES",
    "STEP_HOOKS",
    "adalora_schedule",
    "without_own_loss_terms",
]

ADAPTER = "default"


def adalora_schedule(max_steps: int) -> dict[str, int]:
    """Steps of AdaLoRA's three phases, as shares of the run: 4 % before pruning, the last 10 % after it.

    The shares are those of the public benchmark's run (200 and 500 of 5,000 steps).

    >>> adalora_schedule(5000)
    {'total_step': 5000, 'tinit': 200, 'tfinal': 500}
    """
    return {"total_step": max_steps, "tinit": max_steps * 4 // 100, "tfinal": max_steps // 10}


def _allocating(model: Any) -> Callable[[int], None]:
    """AdaLoRA and AdaMSS share the name of the call: importance from the gradients, then the mask."""

    def after_step(step: int) -> None:
        model.base_model.update_and_allocate(step)

    return after_step


STEP_HOOKS: dict[str, Callable[[Any], Callable[[int], None]]] = {
    "adalora": _allocating,
    "adamss": _allocating,
}
"""Makes the call for after ``optimizer.step()`` from a built model; it takes the step, counted from 1."""


def _adalora_penalty(model: Any) -> Callable[[], Tensor]:
    """Mean distance of the singular-vector matrices from orthogonality (AdaLoRA, equation 4)."""
    weight = model.peft_config[ADAPTER].orth_reg_weight
    factors = [
        (name, parameter)
        for name, parameter in model.named_parameters()
        if ("lora_A" in name or "lora_B" in name) and ADAPTER in name
    ]

    def penalty() -> Tensor:
        terms = []
        for name, parameter in factors:
            gram = parameter @ parameter.T if "lora_A" in name else parameter.T @ parameter
            terms.append(torch.linalg.matrix_norm(gram - torch.eye(len(gram), device=gram.device, dtype=gram.dtype)))
        mean: Tensor = weight * torch.stack(terms).mean()
        return mean

    return penalty


def _kasa_penalty(model: Any) -> Callable[[], Tensor]:
    def penalty() -> Tensor:
        return model.base_model._get_kasa_loss()  # type: ignore[no-any-return]

    return penalty


def _monteclora_penalty(model: Any) -> Callable[[], Tensor]:
    def penalty() -> Tensor:
        return model.base_model._get_monteclora_loss()  # type: ignore[no-any-return]

    return penalty


PENALTIES: dict[str, Callable[[Any], Callable[[], Tensor]]] = {
    "adalora": _adalora_penalty,
    "kasa": _kasa_penalty,
    "monteclora": _monteclora_penalty,
}
"""Makes the term added to the training loss from a built model."""


def without_own_loss_terms(model: Any, card: Card) -> None:
    """Keep a method's own terms out of ``outputs.loss``, so that losses compare between methods.

    AdaLoRA's penalty hangs on weights alone and stands apart, in ``PENALTIES``. ShadowPEFT's auxiliary loss
    needs the batch: in training it stays where ``peft`` adds it, in evaluation it is left out.
    """
    tuner = model.base_model
    forward = {"ADALORA": _of_the_base, "SHADOW": _of_the_base_in_evaluation}.get(card.peft_type or "")
    if forward is not None:
        # Bound to the tuner, so that a copy of the model calls its own; past nn.Module's check of attributes.
        object.__setattr__(tuner, "forward", MethodType(forward, tuner))


def _of_the_base(tuner: Any, *args: Any, **kwargs: Any) -> Any:
    # Called, not its ``forward``: ShadowPEFT's state is started and ended by hooks on the base.
    return tuner.model(*args, **kwargs)


def _of_the_base_in_evaluation(tuner: Any, *args: Any, **kwargs: Any) -> Any:
    return type(tuner).forward(tuner, *args, **kwargs) if tuner.training else tuner.model(*args, **kwargs)
