"""One colour and one symbol per method, the same in every figure of the page."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["Mark", "marks_of"]

COLORS = ("#0077bb", "#ee7733", "#009988", "#ee3377", "#33bbee", "#cc3311", "#8a63d2")
"""Paul Tol's vibrant scheme and a violet: distinguished by readers with any colour vision, on white and on black."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "hexagram", "cross")
"""Eight symbols on seven colours: 56 methods before a pair of both comes again."""
BASE_COLOR, BASE_SYMBOL = "#848b94", "star"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How a method is drawn."""

    color: str
    symbol: str


def marks_of(bases: Collection[str], methods: Iterable[str]) -> dict[str, Mark]:
    """Method -> its mark; a base is grey, the others take colours in their order.

    >>> marks_of(["base"], ["base", "a"])["a"].color
    '#0077bb'
    """
    marks: dict[str, Mark] = {}
    number = 0
    for method in methods:
        if method in bases:
            marks[method] = Mark(color=BASE_COLOR, symbol=BASE_SYMBOL)
        else:
            marks[method] = Mark(color=COLORS[number % len(COLORS)], symbol=SYMBOLS[number % len(SYMBOLS)])
            number += 1
    return marks
