"""A deep model from a shallow one: where blocks repeat, a recording of some of them is one of any number.

A forward pass of scoring is repeated event by event, so that its peak is that of the whole depth. A training step is
counted at two depths; what grows with depth grows evenly, so that a line through both gives any other. Where it does
not (blocks that differ, a peak that moves from the passes to the optimizer's step) there is no answer, and the whole
depth has to be counted.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from peftscope.footprint.footprint import Breakdown
from peftscope.footprint.memory_peak import Peak
from peftscope.footprint.recording import Recording
from peftscope.methods.sizes import Entry
from peftscope.models.kinds.base import ModelProfile

__all__ = ["Depths", "deepened", "depths_of"]

STRIDE = 4
"""Depths are this far apart, or a multiple of the model's own period: some methods share across a few blocks."""
NEAR = 0.75
"""Share of what the passes need beside the model, from which on the optimizer's step may be the larger one with
what the allocator adds to it."""
FEWEST = 4
"""Blocks: a first, two that are compared, a last."""


@dataclass(frozen=True, kw_only=True)
class Depths:
    """Two numbers of blocks to count, and the one that is asked about."""

    less: int
    more: int
    whole: int
    period: int
    """Blocks after which their kinds repeat."""

    @property
    def step(self) -> int:
        """Blocks between the two."""
        return self.more - self.less

    @property
    def next(self) -> Depths:
        """As if a step further were the whole, to see whether what grows grows evenly."""
        return replace(self, whole=self.more + self.step)

    def line(self, less: float, more: float) -> int:
        """At the whole depth, what is this much at the two others."""
        return round(less + (more - less) * (self.whole - self.less) / self.step)

    def sizes(self, less: Sequence[int], more: Sequence[int]) -> list[int]:
        """Sizes of some tensors: as many that grow, or more of the same."""
        if len(less) == len(more):
            return [self.line(*pair) for pair in zip(less, more, strict=True)]
        added = list((Counter(more) - Counter(less)).elements())
        return [*less, *added * ((self.whole - self.less) // self.step)]

    def entries(self, less: Mapping[str, Entry], more: Mapping[str, Entry]) -> dict[str, Entry]:
        """Tensors of a file: what ``more`` has beyond ``less`` comes again, with the numbers that follow."""
        found: dict[str, Entry] = {}
        heads = [Counter(_numbered(name)[0] for name in names) for names in (less, more)]
        turns = (self.whole - self.less) // self.step
        for name, (dtype, shape) in more.items():
            head, number, tail = _numbered(name)
            if name in less:
                before = less[name][1]
                alike = self.line if tail is None else max  # a block's own do not grow
                found[name] = dtype, tuple(alike(*pair) for pair in zip(before, shape, strict=True))
                continue
            stride = self.step if tail else heads[1][head] - heads[0][head]
            for turn in range(turns):
                found[f"{head}{number + turn * stride}{tail or ''}"] = dtype, shape
        return found

    def peak(self, less: Peak, more: Peak) -> Peak | None:
        """The peak at the whole depth; None where it need not lie on the line.

        In the passes one block's part is as large as the next one's. In the optimizer's step what is large depends
        on all that is trained, and what the allocator adds to it on where that falls.
        """
        live = self.line(less.live_bytes, more.live_bytes)
        there = self.line(*(peak.breakdown.weights + peak.breakdown.adapter for peak in (less, more)))
        other = self.line(less.other_bytes, more.other_bytes)
        if less.in_optimizer or more.in_optimizer or other - there > NEAR * (live - there):
            return None
        reserved = max(live, self.line(less.reserved_bytes, more.reserved_bytes))
        parts = {
            entry.name: max(0, self.line(getattr(less.breakdown, entry.name), getattr(more.breakdown, entry.name)))
            for entry in fields(Breakdown)
            if entry.name != "allocator"
        }
        parts["activations"] += live - sum(parts.values())  # rounding
        return Peak(
            live_bytes=live,
            reserved_bytes=reserved,
            breakdown=Breakdown(**parts, allocator=reserved - live),
        )


def depths_of(profile: ModelProfile) -> Depths | None:
    """Depths to count instead of the whole; None where that would save nothing or blocks do not repeat."""
    whole = profile.num_layers
    if whole is None or profile.period > whole // 2:
        return None
    step = math.lcm(STRIDE, profile.period)
    fewest = max(FEWEST, 2 * profile.period + 2)
    less = fewest + (whole - fewest) % step
    more = less + step
    return Depths(less=less, more=more, whole=whole, period=profile.period) if more + step <= whole else None


def _numbered(name: str) -> tuple[str, int, str | None]:
    """A tensor's name before and behind the number that grows with depth: a block's, or its own at the end.

    >>> _numbered("layers.3.q_proj.lora_A.weight"), _numbered("bank.17"), _numbered("prompt")
    (('layers.', 3, '.q_proj.lora_A.weight'), ('bank.', 17, None), ('prompt', 0, None))
    """
    found = re.search(r"\.(\d+)(\..*)$", name) or re.search(r"\.(\d+)($)", name)
    if found is None:
        return name, 0, None
    return name[: found.start(1)], int(found[1]), found[2] or None


def deepened(recording: Recording, begins: Sequence[int], depths: Depths) -> Recording | None:
    """The recording of forward passes through the whole depth; None where its blocks are not alike.

    Args:
        recording: Of passes through ``depths.less`` blocks.
        begins: How many events there were when each block of each pass began.
        depths: How many blocks there are to be.
    """
    if not begins or len(begins) % depths.less:
        return None  # the blocks were not gone through one by one
    return _Deepening(recording, begins, depths).recording()


Place = tuple[int, int]
"""Pass and block."""


class _Deepening:
    """Blocks [1, 1 + period) are compared with the next, and those repeated."""

    def __init__(self, recording: Recording, begins: Sequence[int], depths: Depths) -> None:
        self.old, self.depths = recording, depths
        self.num_copies = (depths.whole - depths.less) // depths.period
        self.num_passes = len(begins) // depths.less
        ends = [*begins[1:], len(recording.events)]
        self.parts = {
            divmod(index, depths.less): recording.events[begin:end]
            for index, (begin, end) in enumerate(zip(begins, ends, strict=True))
        }
        self.before = recording.events[: begins[0]]
        self.born: dict[int, tuple[Place, int]] = {}
        """Where a storage came, and as which of that block."""
        for place, events in self.parts.items():
            came = [number for number, here in events if here]
            self.born |= {number: (place, order) for order, number in enumerate(came)}
        self.sizes, self.kinds = list(recording.sizes), list(recording.kinds)
        self.copies: dict[tuple[int, int], int] = {}
        """Number of a storage's copy, by its own number and the copy's."""
        self.events: list[tuple[int, bool]] = []
        self._alive: set[int] = set()

    def recording(self) -> Recording | None:
        """The whole, or None."""
        period = self.depths.period
        self._add(self.before)
        first, second = range(1, 1 + period), range(1 + period, 1 + 2 * period)
        for turn in range(self.num_passes):
            if any(self._shape(turn, a) != self._shape(turn, b) for a, b in zip(first, second, strict=True)):
                return None
            for block in range(second.stop):
                self._add(self.parts[turn, block])
            for copy in range(1, self.num_copies + 1):
                for block in second:
                    self._add(self._copied(event, copy) for event in self.parts[turn, block])
            for block in range(second.stop, self.depths.less):
                for event in self.parts[turn, block]:
                    self._add(self._later(event))
        return Recording(events=self.events, sizes=self.sizes, kinds=self.kinds)

    def _add(self, events: Iterable[tuple[int, bool]]) -> None:
        """Append what comes, and what goes if it is there."""
        for number, came in events:
            if came:
                self._alive.add(number)
            elif number in self._alive:
                self._alive.remove(number)
            else:
                continue
            self.events.append((number, came))

    def _shape(self, turn: int, block: int) -> list[tuple[bool, int, object]]:
        """A block's events without their numbers: what came, and of what went where it had come."""
        found: list[tuple[bool, int, object]] = []
        for number, came in self.parts[turn, block]:
            place, order = self.born.get(number, (None, number))
            away: object = number
            if place is not None:
                here = place == (turn, block)
                away = (place[0] - turn, place[1] - block, order if here else None)
            found.append((came, self.old.sizes[number], away))
        return found

    def _copied(self, event: tuple[int, bool], copy: int) -> tuple[int, bool]:
        number, came = event
        place, order = self.born.get(number, (None, 0))
        if place is None:
            return event
        turn, block = place
        if block > self.depths.period:
            return self._copy_of(number, copy), came
        # Of the blocks before: in a copy, the copy before.
        ahead = self._numbers(turn, block + self.depths.period)[order]
        return self._copy_of(ahead, copy - 1), came

    def _later(self, event: tuple[int, bool]) -> list[tuple[int, bool]]:
        """An event behind the copies: what goes there of the blocks that were copied, goes of all copies left."""
        number, came = event
        place, _ = self.born.get(number, (None, 0))
        period = self.depths.period
        if came or place is None or not 1 + period <= place[1] < 1 + 2 * period:
            return [event]
        return [(self._copy_of(number, copy), came) for copy in range(self.num_copies + 1)]

    def _numbers(self, turn: int, block: int) -> list[int]:
        return [number for number, came in self.parts[turn, block] if came]

    def _copy_of(self, number: int, copy: int) -> int:
        if copy == 0:
            return number
        if (number, copy) not in self.copies:
            self.copies[number, copy] = len(self.sizes)
            self.sizes.append(self.old.sizes[number])
            self.kinds.append(self.old.kinds[number])
        return self.copies[number, copy]
