"""What an accelerator's caching allocator reserves for a sequence of allocations.

A model of PyTorch's native allocator (``c10/cuda/CUDACachingAllocator.cpp``, default settings): sizes in units of
512 bytes; requests up to 1 MiB come from segments of 2 MiB, those below 10 MiB from segments of 20 MiB, larger
ones from segments of their own, rounded to 2 MiB; the smallest free block that is large enough is taken and what
is left of it split off; neighbours that are free are joined; only whole free segments go back.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable

__all__ = ["CachingAllocator"]

KIB, MIB = 1024, 1024 * 1024

BLOCK = 512
"""Unit of sizes, in bytes."""
SMALL = 1 * MIB
"""Largest request that is served from the small pool, and smallest rest worth splitting off in the large one."""
SMALL_SEGMENT = 2 * MIB
LARGE_SEGMENT = 20 * MIB
LARGE_REQUEST = 10 * MIB
"""Requests from here on get segments of their own …"""
ROUNDED = 2 * MIB
"""… of a multiple of this."""


class _Block:
    """A stretch of a segment, linked to its neighbours there."""

    __slots__ = ("after", "before", "is_free", "place", "size", "small")

    def __init__(self, size: int, place: int, small: bool) -> None:
        self.size, self.place, self.small = size, place, small
        self.is_free = False
        self.before: _Block | None = None
        self.after: _Block | None = None


class CachingAllocator:
    """Takes and gives back blocks, and knows what is reserved for them.

    Attributes:
        reserved_bytes: Held from the device now.
        peak_reserved_bytes: Largest value of it since the last ``reset_peak``.
        allocated_bytes: In use now, rounded to blocks.
    """

    def __init__(self) -> None:
        self.reserved_bytes = self.peak_reserved_bytes = self.allocated_bytes = 0
        self._used: dict[Hashable, _Block] = {}
        self._free: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        self._at: dict[int, _Block] = {}
        self._next_place = 0

    def allocate(self, name: Hashable, num_bytes: int) -> None:
        """Take a block under a name that is not in use."""
        assert name not in self._used, f"{name!r} is allocated already"
        if num_bytes == 0:
            return
        size = -(-num_bytes // BLOCK) * BLOCK
        small = size <= SMALL
        block = self._best_fit(size, small) or self._segment(size, small)
        rest = block.size - size
        if rest >= BLOCK if small else rest > SMALL:
            self._split(block, size)
        block.is_free = False
        self._used[name] = block
        self.allocated_bytes += block.size

    def free(self, name: Hashable) -> None:
        """Give the block of a name back; one of no bytes was never taken."""
        block = self._used.pop(name, None)
        if block is None:
            return
        self.allocated_bytes -= block.size
        block.is_free = True
        for neighbour in (block.before, block.after):
            if neighbour is not None and neighbour.is_free:
                self._remove_free(neighbour)
                block = self._join(block, neighbour)
        self._add_free(block)

    def empty_cache(self) -> None:
        """Give whole free segments back to the device."""
        for small in (True, False):
            for size, place in list(self._free[small]):
                block = self._at[place]
                if block.before is None and block.after is None:
                    self._remove_free(block)
                    del self._at[place]
                    self.reserved_bytes -= size

    def reset_peak(self) -> None:
        """Let the peak begin anew at what is reserved now."""
        self.peak_reserved_bytes = self.reserved_bytes

    def _best_fit(self, size: int, small: bool) -> _Block | None:
        free = self._free[small]
        index = bisect_left(free, (size, -1))
        if index == len(free):
            return None
        return self._at[free.pop(index)[1]]

    def _segment(self, size: int, small: bool) -> _Block:
        if small:
            whole = SMALL_SEGMENT
        elif size < LARGE_REQUEST:
            whole = LARGE_SEGMENT
        else:
            whole = -(-size // ROUNDED) * ROUNDED
        block = _Block(whole, self._next_place, small)
        self._at[block.place] = block
        self._next_place += whole
        self.reserved_bytes += whole
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)
        return block

    def _split(self, block: _Block, size: int) -> None:
        rest = _Block(block.size - size, block.place + size, block.small)
        rest.is_free = True
        rest.before, rest.after = block, block.after
        if block.after is not None:
            block.after.before = rest
        block.after, block.size = rest, size
        self._at[rest.place] = rest
        self._add_free(rest)

    def _join(self, block: _Block, neighbour: _Block) -> _Block:
        first, second = (neighbour, block) if neighbour is block.before else (block, neighbour)
        first.size += second.size
        first.after = second.after
        if second.after is not None:
            second.after.before = first
        del self._at[second.place]
        return first

    def _add_free(self, block: _Block) -> None:
        insort(self._free[block.small], (block.size, block.place))

    def _remove_free(self, block: _Block) -> None:
        free = self._free[block.small]
        free.pop(bisect_left(free, (block.size, block.place)))
