"""Optimizers: AdamW for all, and those that belong to a technique."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from peftscope.errors import SpecError
from peftscope.spec.run import RunSpec

__all__ = ["OPTIMIZERS", "OptimizerSettings", "freeze_for", "make_optimizer", "settings_of"]

LORAPLUS_RATIO = 16.0
"""Ratio of LoRA+'s two learning rates; its authors' choice for language models (LoRA+, section 5)."""


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """What an optimizer is made with."""

    learning_rate: float
    """Peak learning rate; the loop's schedule scales each parameter group from its own."""
    weight_decay: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments, such as ``betas``, LoRA+'s ``loraplus_lr_ratio`` or the Riemannian ``reg``."""


def settings_of(run: RunSpec) -> OptimizerSettings:
    """The optimizer's settings of a run: the study's, then what the method overrides."""
    assert run.learning_rate is not None, "a technique that trains has a learning rate"
    own = dict(run.method.optimizer)
    decay = own.pop("weight_decay", run.train.weight_decay)
    return OptimizerSettings(learning_rate=run.learning_rate, weight_decay=decay, extra=own)


def make_optimizer(name: str | None, model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Make the optimizer a card names; None is AdamW.

    Raises:
        SpecError: The optimizer does not take one of the arguments.
    """
    try:
        return OPTIMIZERS[name or "adamw"](model, settings)
    except TypeError as error:
        given = ", ".join(sorted(settings.extra)) or "none"
        raise SpecError("optimizer", [f"{name or 'adamw'} refuses its arguments (given: {given}): {error}"]) from error


def freeze_for(name: str | None, model: nn.Module) -> None:
    """Freeze what the optimizer will not train, so that counts are right before it is made."""
    if name == "lora-fa":
        for parameter_name, parameter in model.named_parameters():
            if "lora_A" in parameter_name:
                parameter.requires_grad_(False)


def _adamw(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, **settings.extra)


def _lora_fa(model: Any, settings: OptimizerSettings) -> torch.optim.Optimizer:
    from peft.optimizers import create_lorafa_optimizer

    config = model.peft_config["default"]
    # The benchmark's folders repeat rank and alpha here; the layers' own are used, whatever is written.
    extra = {key: value for key, value in settings.extra.items() if key not in ("r", "lora_alpha")}
    optimizer: torch.optim.Optimizer = create_lorafa_optimizer(
        model=model,
        r=config.r,
        lora_alpha=config.lora_alpha,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        **extra,
    )
    return optimizer


def _lora_plus(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    from peft.optimizers import create_loraplus_optimizer

    extra = {"loraplus_lr_ratio": LORAPLUS_RATIO, **settings.extra}
    optimizer: torch.optim.Optimizer = create_loraplus_optimizer(
        model,
        torch.optim.AdamW,
        lr=settings.learning_rate,
        loraplus_weight_decay=settings.weight_decay,
        **extra,
    )
    return optimizer


def _lora_riemannian(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    from peft.optimizers import create_riemannian_optimizer

    optimizer: torch.optim.Optimizer = create_riemannian_optimizer(
        model,
        torch.optim.AdamW,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        **settings.extra,
    )
    return optimizer


OPTIMIZERS: dict[str, Callable[[nn.Module, OptimizerSettings], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "lora-fa": _lora_fa,
    "lora-plus": _lora_plus,
    "lora-riemannian": _lora_riemannian,
}
