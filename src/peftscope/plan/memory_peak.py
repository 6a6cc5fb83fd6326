"""From the trace of a step to its peak: what was alive, what it was, and what the allocator held for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from peftscope.plan.allocator import CachingAllocator
from peftscope.train.meta_kernels import Target
from peftscope.train.trace import StepTrace

__all__ = ["Breakdown", "Kinds", "Peak", "peak_of", "storage_sizes"]

STEPS = 2
"""Steps to walk through: in the first the optimizer's state comes into gaps that activations left."""


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Bytes by what they are for, at the moment of the peak."""

    weights: int = 0
    """The base's parameters and buffers."""
    adapter: int = 0
    """What the technique put on it."""
    gradients: int = 0
    optimizer_state: int = 0
    """With the copies the optimizer's step works on."""
    activations: int = 0
    """With the batch and what the backward pass works on."""
    logits: int = 0
    """Logits and loss: whatever is as wide as the vocabulary."""
    allocator: int = 0
    """Rounding and gaps."""

    def total(self) -> int:
        """Sum of all."""
        return sum(getattr(self, entry.name) for entry in fields(self))


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Peak memory of a phase, in bytes."""

    live_bytes: int
    """Live storage."""
    reserved_bytes: int
    """What the allocator holds for it; on a CPU the same."""
    breakdown: Breakdown
    """Of the reserved bytes."""


class Kinds:
    """Notes beside a trace what its storages are.

    Args:
        trace: The trace, before it begins.
        vocab_size: Logits are known by their width.
    """

    def __init__(self, trace: StepTrace, vocab_size: int | None) -> None:
        self.trace = trace
        self.vocab_size = vocab_size
        self.num_events = 0
        """Events of the step; what comes later is its end."""
        self._gradients: set[int] = set()
        self._optimizer_from: int | None = None

    def gradient(self, parameter: Tensor) -> None:
        """Called when a gradient has been accumulated."""
        number = self.trace.number_of(parameter.grad) if parameter.grad is not None else None
        if number is not None:
            self._gradients.add(number)

    def optimizer_begins(self, *_: object) -> None:
        """Called when the optimizer's step begins."""
        self._optimizer_from = len(self.trace.allocations)

    def ended(self) -> None:
        """Called when the step has ended and nothing of it has been dropped yet."""
        self.num_events = len(self.trace.events)

    def of(self, number: int) -> str:
        """Field of the breakdown a storage belongs to."""
        if number in self._gradients:
            return "gradients"
        if self._optimizer_from is not None and number >= self._optimizer_from:
            return "optimizer_state"
        is_logits = self.vocab_size is not None and self.trace.allocations[number].last_dim == self.vocab_size
        return "logits" if is_logits else "activations"


def storage_sizes(tensors: Iterable[Tensor]) -> list[int]:
    """Bytes of the storages of some tensors, shared ones once."""
    storages: dict[int, torch.UntypedStorage] = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        storages[id(storage)] = storage
    return [storage.nbytes() for storage in storages.values()]


def peak_of(trace: StepTrace, kinds: Kinds, *, base: Sequence[int], adapter: Sequence[int], target: Target) -> Peak:
    """The peak of a traced step, in the state it has from its second time on.

    Args:
        trace: Of one step, ended.
        kinds: Noted beside it.
        base: Storages of the base, in bytes.
        adapter: Storages of the technique and of the batch.
        target: Whether a caching allocator stands between.
    """
    events = trace.events[: kinds.num_events]
    gone = {number for number, came in events if not came}
    kept = [number for number, came in events if came and number not in gone]
    held = {"weights": sum(base), "adapter": sum(adapter)}
    now = dict(held)
    for number in kept:
        now[kinds.of(number)] = now.get(kinds.of(number), 0) + trace.allocations[number].num_bytes
    live, best, staying = sum(now.values()), dict(now), set(kept)
    peak = live
    for number, came in events:
        if number in staying:
            continue
        size, kind = trace.allocations[number].num_bytes, kinds.of(number)
        live += size if came else -size
        now[kind] = now.get(kind, 0) + (size if came else -size)
        if live > peak:
            peak, best = live, dict(now)
    reserved = peak if target == "cpu" else _reserved(trace, events, staying, base, adapter)
    breakdown = Breakdown(**best, allocator=reserved - peak)
    return Peak(live_bytes=peak, reserved_bytes=reserved, breakdown=breakdown)


def _reserved(
    trace: StepTrace, events: Sequence[tuple[int, bool]], staying: set[int], base: Sequence[int], adapter: Sequence[int]
) -> int:
    """What the allocator holds at the most in the second of two steps, its cache emptied between them.

    The base lies in one piece: transformers takes room for all of it before it loads.
    """
    allocator = CachingAllocator()
    allocator.allocate("base", sum(base))
    for index, size in enumerate(adapter):
        allocator.allocate(("adapter", index), size)
    for step in range(STEPS):
        allocator.reset_peak()
        for number, came in events:
            if came and (step == 0 or number not in staying):
                allocator.allocate(number, trace.allocations[number].num_bytes)
            elif not came:
                allocator.free(number)
        allocator.empty_cache()
    return allocator.peak_reserved_bytes
