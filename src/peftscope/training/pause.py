"""Stopping a training on its way and going on later as if it had not stopped: same schedule, same data, same RNG state.

The model is built anew from its seed before its training goes on, so only what training changed is kept.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from peftscope.schema.record import CurvePoint
from peftscope.store.files import ensure_folder, replacing
from peftscope.training.result import FitResult

__all__ = ["Pauses", "TrainingState"]

Marks = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Pauses:
    """Where a training is looked at, and may stop to go on later."""

    rungs: tuple[int, ...]
    """Steps after which ``measure`` is called."""
    measure: Callable[[], float]
    """Gives the validation loss; outside the timed window."""
    until: int | None = None
    """Last step to do now; None goes to the end."""
    state: Path | None = None
    """File in which a paused training lies; None keeps nothing, and what goes on later starts from the first step."""
    conditions: str = ""
    """What the training was paused under; a state of others (other data, other weights) is not gone on with."""


class TrainingState:
    """What of a training has to be kept so that it can go on.

    To be made before the first step: frozen tensors that are written to later count as changed.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, schedule: LRScheduler) -> None:
        self.model, self.optimizer, self.schedule = model, optimizer, schedule
        self._marks = _marks(model)

    def save(self, path: Path, conditions: str, result: FitResult, memory: Mapping[str, float]) -> None:
        """Write it.

        Args:
            path: The file.
            conditions: What the training is done under.
            result: What the training came to so far.
            memory: Figures the loop keeps between steps.

        Raises:
            StoreError: The folder is not writable or the disk is full.
        """
        ensure_folder(path.parent)
        kept = {
            "conditions": conditions,
            "tensors": {name: t.detach().cpu() for name, t in self._changed().items()},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "result": asdict(result),
            "memory": dict(memory),
            "rng_state": _rng_state(next(self.model.parameters()).device),
        }
        with replacing(path) as temporary:
            try:
                torch.save(kept, temporary)
            except RuntimeError as error:  # how torch tells of a full disk
                raise OSError(str(error)) from error

    def load(self, path: Path, conditions: str, result: FitResult) -> dict[str, float] | None:
        """Bring model, optimizer, schedule, rng_state and result to where they were; gives the loop's figures.

        None, and nothing is changed, where the file is not there, cannot be read or is of other conditions: the
        training starts anew.
        """
        try:
            kept = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return None
        if kept["conditions"] != conditions:
            return None
        held = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        with torch.no_grad():
            for name, tensor in kept["tensors"].items():
                held[name].copy_(tensor)
        self.optimizer.load_state_dict(kept["optimizer"])
        self.schedule.load_state_dict(kept["schedule"])
        for field in fields(result):
            setattr(result, field.name, kept["result"][field.name])
        result.curve = [CurvePoint(**point) for point in kept["result"]["curve"]]
        _set_rng_state(kept["rng_state"], next(self.model.parameters()).device)
        memory: dict[str, float] = kept["memory"]
        return memory

    def _changed(self) -> dict[str, Tensor]:
        now = _marks(self.model)
        held = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        return {name: t for name, t in held.items() if t.requires_grad or now[name] != self._marks.get(name)}


def _marks(model: nn.Module) -> Marks:
    """Where each tensor lies and how often it was written to, as torch counts it."""
    held = [*model.named_parameters(), *model.named_buffers()]
    return {name: (tensor.data_ptr(), tensor._version) for name, tensor in held}


def _rng_state(device: torch.device) -> dict[str, Any]:
    return {
        "cpu": torch.get_rng_state(),
        "device": None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(),
    }


def _set_rng_state(rng_state: Mapping[str, Any], device: torch.device) -> None:
    torch.set_rng_state(rng_state["cpu"])
    if rng_state["device"] is not None:
        torch.get_device_module(device).set_rng_state(rng_state["device"])
