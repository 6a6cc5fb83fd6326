"""From the recording of a step to its peak: what was alive, what it was, and what the allocator held for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peftscope.footprint.allocator import CachingAllocator
from peftscope.footprint.footprint import Breakdown
from peftscope.footprint.meta_kernels import Target
from peftscope.footprint.recording import Recording

__all__ = ["HeldTensor", "Peak", "peak_of"]

STEPS = 3
"""Steps to walk through where all are alike, before the cache is emptied once, as loops do now and then …"""
STEPS_APART = 2
"""… and where the cache is empty between them, or after that. In the first the optimizer's state comes into gaps that
activations left."""
HEAP_SHARE = 0.39
"""On a CPU: what the C library's heap holds beyond live storage, as a share of all but the base. Small objects that
outlive large ones keep it from giving memory back. From a run of LoRA; how near it comes to twelve methods is in
``benchmarks/footprint_measured.md``."""


@dataclass(frozen=True, kw_only=True)
class HeldTensor:
    """Storages that are there from beginning to end, in bytes each."""

    base: Sequence[int]
    adapter: Sequence[int]
    """Of the method, and of the batch."""
    beside: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Peak memory of a phase, in bytes."""

    live_bytes: int
    """Live storage."""
    reserved_bytes: int
    """What the allocator holds for it."""
    breakdown: Breakdown
    """Of the reserved bytes."""
    in_optimizer: bool = False
    """Whether live storage peaks in the optimizer's step, not in the passes before it."""
    other_bytes: int = 0
    """Peak of live storage in the other of these two."""


def peak_of(recording: Recording, held: HeldTensor, *, target: Target, alike: bool) -> Peak:
    """The peak of a step, in the state it has from its second time on.

    Args:
        recording: Of one step.
        held: What was there before it.
        target: Whether an accelerator's caching allocator stands between, or the C library's heap.
        alike: Whether the steps before it were of its size; else the allocator's cache is empty when it begins.
    """
    events, sizes, kinds = recording.events, recording.sizes, recording.kinds
    gone = {number for number, came in events if not came}
    staying = {number for number, came in events if came and number not in gone}
    now = {"weights": sum(held.base), "adapter": sum(held.adapter), "beside": sum(held.beside)}
    for number in staying:
        now[kinds[number]] = now.get(kinds[number], 0) + sizes[number]
    live, best = sum(now.values()), dict(now)
    peaks = {False: live, True: 0}
    in_optimizer, first = False, recording.first_of_optimizer
    for number, came in events:
        in_optimizer = in_optimizer or (came and first is not None and number >= first)
        if number in staying:
            continue
        size, kind = sizes[number], kinds[number]
        live += size if came else -size
        now[kind] = now.get(kind, 0) + (size if came else -size)
        if live > peaks[in_optimizer]:
            if live > max(peaks.values()):
                best = dict(now)
            peaks[in_optimizer] = live
    peak = max(peaks.values())
    if target == "cpu":
        reserved = peak + round(HEAP_SHARE * (peak - sum(held.base)))
    else:
        reserved = _reserved(recording, staying, held, alike)
    return Peak(
        live_bytes=peak,
        reserved_bytes=reserved,
        breakdown=Breakdown(**best, allocator=reserved - peak),
        in_optimizer=peaks[True] > peaks[False],
        other_bytes=min(peaks.values()),
    )


def _reserved(recording: Recording, staying: set[int], held: HeldTensor, alike: bool) -> int:
    """What the allocator holds at the most in a few steps, or in one with an emptied cache.

    The base lies in one piece: transformers takes room for all of it before it loads.
    """
    allocator = CachingAllocator()
    allocator.allocate("base", sum(held.base))
    for index, size in enumerate((*held.adapter, *held.beside)):
        allocator.allocate(("held", index), size)
    for step in range(STEPS + STEPS_APART if alike else STEPS_APART):
        if not alike:
            allocator.empty_cache()
            allocator.reset_peak()
        elif step == STEPS:
            allocator.empty_cache()
        for number, came in recording.events:
            if came and (step == 0 or number not in staying):
                allocator.allocate(number, recording.sizes[number])
            elif not came:
                allocator.free(number)
    return allocator.peak_reserved_bytes
