"""One colour and one symbol per method, the same in every figure, of every study where they are free."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["COLORS", "Mark", "marks_of"]

COLORS = (
    "#0077bb", "#d55e00", "#009e73", "#cc2f7b", "#8a63d2", "#a67c00", "#2b93b0", "#cf3f31", "#6f8f00", "#9a6a3f",
    "#4f6bed", "#a0588a",
)  # fmt: skip
"""Readable (contrast 3 and more) on the page's light and dark paper alike; none is the only sign of a method."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "hexagon", "cross")
BASE_COLOR, BASE_SYMBOL = "#7f8791", "star"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How a method is drawn."""

    color: str
    symbol: str


def marks_of(bases: Collection[str], methods: Iterable[str]) -> dict[str, Mark]:
    """Method -> its mark; a base is grey.

    A method's name says which place among the colours it would have; one that is taken already leaves it the next.
    The order in which methods are given decides nothing.
    Up to eight methods share no symbol, up to twelve no colour.

    >>> marks_of(["base"], ["base", "a"])["base"].symbol
    'star'
    """
    methods = list(methods)
    marks: dict[str, Mark] = {}
    taken: set[int] = set()
    used: list[tuple[int, int]] = []
    for method in sorted(methods):
        if method in bases:
            marks[method] = Mark(color=BASE_COLOR, symbol=BASE_SYMBOL)
            continue
        round_ = len(taken) // len(COLORS) * len(COLORS)
        wanted = zlib.crc32(method.encode()) % len(COLORS)
        places = (round_ + (wanted + step) % len(COLORS) for step in range(len(COLORS)))
        place = next(place for place in places if place not in taken)
        taken.add(place)
        color = place % len(COLORS)
        wished = (color + place // len(COLORS)) % len(SYMBOLS)
        steps = ((wished + step) % len(SYMBOLS) for step in range(len(SYMBOLS)))
        counts = Counter(symbol for _, symbol in used)
        # the one wished for, unless it stands with this colour already or another was drawn less often
        symbol = min(steps, key=lambda step: ((color, step) in used, counts[step]))
        used.append((color, symbol))
        marks[method] = Mark(color=COLORS[color], symbol=SYMBOLS[symbol])
    return {method: marks[method] for method in methods}
