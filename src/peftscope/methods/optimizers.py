"""Optimizers: AdamW for all, and those that belong to a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from peftscope.errors import MissingExtra, SpecError
from peftscope.methods.catalog.lora_optim import LORAPLUS_RATIO
from peftscope.schema.run import RunSpec

__all__ = ["GENERAL", "OPTIMIZERS", "OptimizerSettings", "freeze_for", "make_optimizer", "settings_of"]


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """What an optimizer is made with."""

    learning_rate: float
    """Peak learning rate; the loop's schedule scales each parameter group from its own."""
    weight_decay: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments, such as ``betas``, LoRA+'s ``loraplus_lr_ratio`` or the Riemannian ``reg``."""


GENERAL = ("adamw", "adamw-8bit", "sgd", "adafactor")
"""Optimizers that belong to no method. Runs take the first; memory can be predicted with any."""
MOMENTUM = 0.9
"""Of SGD."""


def settings_of(run: RunSpec) -> OptimizerSettings:
    """The optimizer's settings of a run: the study's, then what the method overrides."""
    assert run.learning_rate is not None, "a method that trains has a learning rate"
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
    return torch.optim.AdamW(
        _trained(model), lr=settings.learning_rate, weight_decay=settings.weight_decay, **settings.extra
    )


def _adamw_8bit(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """State in a byte a number (Dettmers et al. 2022, arXiv:2110.02861)."""
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise MissingExtra("bitsandbytes", "quantized", "optimizer adamw-8bit") from error
    optimizer: torch.optim.Optimizer = AdamW8bit(
        _trained(model), lr=settings.learning_rate, weight_decay=settings.weight_decay, **settings.extra
    )
    return optimizer


def _sgd(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    extra = {"momentum": MOMENTUM, **settings.extra}
    return torch.optim.SGD(_trained(model), lr=settings.learning_rate, weight_decay=settings.weight_decay, **extra)


def _adafactor(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """State in a row and a column of each matrix (Shazeer and Stern 2018, arXiv:1804.04235)."""
    return torch.optim.Adafactor(
        _trained(model), lr=settings.learning_rate, weight_decay=settings.weight_decay, **settings.extra
    )


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


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
    "adamw-8bit": _adamw_8bit,
    "sgd": _sgd,
    "adafactor": _adafactor,
    "lora-fa": _lora_fa,
    "lora-plus": _lora_plus,
    "lora-riemannian": _lora_riemannian,
}
