"""What building a method needs to know besides the base and the method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

__all__ = ["BuildContext", "Inputs", "base_inside", "device_of", "quantization_of"]

ADAPTER = "default"
"""Name peft gives the one adapter of a model."""


class Inputs(Protocol):
    """What methods that start from data or from a text need to know of a kind's inputs."""

    def samples(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Each sample of a training batch on its own and without padding, as the base takes it: ``model(**sample)``."""
        ...

    def num_positions(self, batch: dict[str, Any], *, ignored_label: int | None = None) -> int:
        """Positions of a batch that are not padding; with a label to ignore, those of them with another one."""
        ...

    def cache_of(self, base: nn.Module, text: str, least: int) -> Any:
        """Keys and values the base computes for a text, repeated until it has ``least`` positions."""
        ...


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """Circumstances of a build. The caller seeds just before; ``seed`` goes into configs that carry one."""

    seed: int
    max_steps: int
    """Optimizer steps of the training to come; schedules of methods are laid out over them."""
    learning_rate: float | None
    warn: Callable[[str], None]
    """Takes one line for every setting that is changed or not used."""
    task_type: str | None = None
    """Member of ``peft.TaskType``; None for a model that is not one of transformers' task classes."""
    calibration: Callable[[], Iterator[dict[str, Tensor]]] | None = None
    """Starts over the batches for data-driven initialisation, as the base takes them: ``model(**batch)``."""
    inputs: Inputs | None = None
    """What an initialisation that starts from data or a text needs; None where the kind of model has no such thing."""
    processor: Any = None
    """What turns examples into the base's inputs."""
    autocast_adapter_dtype: bool = True
    """Keep adapter weights in float32 when the base is in a half type."""
    unchecked: bool = False
    """Build also what the table of capabilities says cannot be trained; for those who want to see it."""


def base_inside(model: nn.Module) -> nn.Module:
    """The base that a ``peft`` model wraps, whose modules bear the base's names; any other model itself."""
    holder: Any = model
    inner: nn.Module = holder.base_model.model if hasattr(holder, "peft_config") else model
    return inner


def device_of(model: nn.Module) -> str:
    """Type of the device of a model's first parameter: ``cpu``, ``cuda``, ``meta``, …"""
    return str(next(model.parameters()).device.type)


def quantization_of(base: nn.Module) -> str | None:
    """How a base is quantized: ``int8``, ``nf4`` (any bitsandbytes 4 bit), the method's own name, or None."""
    if getattr(base, "is_loaded_in_8bit", False):
        return "int8"
    if getattr(base, "is_loaded_in_4bit", False):
        return "nf4"
    settings = getattr(getattr(base, "config", None), "quantization_config", None)
    if settings is None:
        return None
    values: dict[str, Any] = settings if isinstance(settings, dict) else vars(settings)
    if values.get("load_in_8bit", values.get("_load_in_8bit")):
        return "int8"
    if values.get("load_in_4bit", values.get("_load_in_4bit")):
        return "nf4"
    method = values.get("quant_method")
    return str(getattr(method, "value", method))
