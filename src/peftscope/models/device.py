"""Devices: choosing one, waiting for it, its memory peaks, mixed precision on it."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import psutil
import torch

from peftscope.errors import ModelError

__all__ = [
    "MemoryPeaks",
    "autocast",
    "available_devices",
    "choose_device",
    "choose_dtype",
    "device_for_float64",
    "forked_rng",
    "give_back_cache",
    "has_bfloat16",
    "memory_bytes",
    "memory_peaks",
    "reset_memory_peaks",
    "synchronize",
]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def available_devices() -> tuple[str, ...]:
    """Kinds of device this machine has, the accelerator first, the CPU always last."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return ("cpu",) if accelerator is None else (accelerator.type, "cpu")


def choose_device(asked: str = "auto") -> torch.device:
    """The device asked for; ``auto`` takes the accelerator where there is one, else the CPU.

    Raises:
        ModelError: The device asked for is not on this machine.
    """
    present = available_devices()
    if asked == "auto":
        return torch.device(present[0])
    if asked not in present:
        raise ModelError(
            f"model.device: {asked!r} is not on this machine; it has {', '.join(present)}. Take one of these or 'auto'."
        )
    return torch.device(asked)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 by itself, not by emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        one = torch.ones(1, 1, dtype=torch.bfloat16, device=device)
        return bool((one @ one).item() == 1.0)
    except (RuntimeError, TypeError):  # how older MPS builds say no
        return False


@lru_cache
def device_for_float64(device: torch.device) -> torch.device:
    """Where double precision is computed for a device: there, or on the CPU where it has none, as Apple's have none.

    >>> device_for_float64(torch.device("cpu"))
    device(type='cpu')
    """
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except (RuntimeError, TypeError):
        return torch.device("cpu")
    return device


def choose_dtype(asked: Literal["auto", "float32", "bfloat16", "float16"], device: torch.device) -> torch.dtype:
    """The dtype asked for; ``auto`` is bfloat16 on accelerators that have it, float32 elsewhere.

    >>> choose_dtype("auto", torch.device("cpu"))
    torch.float32
    """
    if asked != "auto":
        return DTYPES[asked]
    return torch.bfloat16 if device.type != "cpu" and has_bfloat16(device) else torch.float32


def memory_bytes(device: torch.device) -> int | None:
    """What a device has for runs: an accelerator's memory, or what the system has left; None where it does not tell."""
    if device.type == "cpu":
        return int(psutil.virtual_memory().available)
    try:
        return int(torch.accelerator.get_memory_info(device)[1])
    except (RuntimeError, AttributeError, NotImplementedError):  # not every kind of accelerator tells
        return None


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it; the CPU always has."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Mixed precision in bfloat16, or a context that does nothing where the device has no bfloat16.

    bfloat16 alone, since float16 would need its loss scaled, which is one more thing to keep equal.
    """
    if torch.amp.is_autocast_available(device.type) and has_bfloat16(device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class MemoryPeaks:
    """Highest memory use of an accelerator since the last reset."""

    allocated_bytes: int
    """Held by live tensors."""
    reserved_bytes: int
    """Held by PyTorch's allocator, live or kept for reuse: what other processes cannot have."""


def memory_peaks(device: torch.device) -> MemoryPeaks | None:
    """Memory peaks since ``reset_memory_peaks``; None where PyTorch keeps none (CPU, MPS)."""
    module = _peak_keeper(device)
    if module is None:
        return None
    return MemoryPeaks(
        allocated_bytes=int(module.max_memory_allocated()), reserved_bytes=int(module.max_memory_reserved())
    )


def reset_memory_peaks(device: torch.device) -> None:
    """Begin a new window for ``memory_peaks``; does nothing where there are none.

    The allocator's cache is given back first, or the reserved peak would begin at that of the phase before.
    """
    module = _peak_keeper(device)
    if module is not None:
        gc.collect()
        module.empty_cache()
        module.reset_peak_memory_stats()


def give_back_cache(device: torch.device) -> None:
    """Give what the allocator keeps for reuse back to the device, for other processes; does nothing on a CPU."""
    if device.type != "cpu":
        gc.collect()
        torch.get_device_module(device).empty_cache()


def forked_rng(device: torch.device) -> AbstractContextManager[None]:
    """A context that leaves the generators of the CPU and of a device as they were."""
    devices = [] if device.type == "cpu" else [device]
    return torch.random.fork_rng(devices, device_type=device.type)


def _peak_keeper(device: torch.device) -> Any | None:
    module = torch.get_device_module(device)
    return module if hasattr(module, "max_memory_reserved") else None
