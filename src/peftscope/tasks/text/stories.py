"""Small word problems with worked answers, made on the spot: problems a model of a few million parameters can learn.

A story tells how many things somebody has and what comes and goes; its worked answer writes every step down and
ends as GSM8K's do, in ``#### N``. All numbers stand between 1 and ``LARGEST``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["LARGEST", "TEMPLATES", "Story", "draw_stories"]

T = TypeVar("T")

LARGEST = 30
"""Largest number in a problem or on the way to its solution."""

NAMES = [
    "Mia",
    "Tom",
    "Anna",
    "Ben",
    "Lily",
    "Sam",
    "Rosa",
    "Max",
    "Emma",
    "Leo",
    "Nina",
    "Paul",
    "Ella",
    "Jack",
    "Ruth",
    "Omar",
    "Kate",
    "Ivan",
    "Zoe",
    "Adam",
    "Lucy",
    "Noah",
    "Sara",
    "Hugo",
]
THINGS = [
    "shells",
    "cards",
    "apples",
    "pens",
    "books",
    "stamps",
    "coins",
    "eggs",
    "plums",
    "nuts",
    "stones",
    "cups",
    "toys",
    "balls",
    "keys",
    "beads",
    "cakes",
    "flowers",
    "buttons",
    "marbles",
    "pears",
    "tickets",
    "lemons",
    "candles",
]
PLACES = ["box", "bag", "basket", "jar", "drawer", "bowl"]

OPENINGS = (
    "{name} has {a} {things}.",
    "{name} keeps {a} {things} in a {place}.",
    "There are {a} {things} in the {place} of {name}.",
    "{name} starts the day with {a} {things}.",
)
GROUPS = (
    "{name} fills {k} boxes with {a} {things} each.",
    "{name} owns {k} bags of {a} {things}.",
)
GAINS = (
    "{name} finds {b} more.",
    "Then {friend} gives {name} {b} more.",
    "Later {name} buys {b} more.",
    "{name} gets {b} from {friend}.",
    "{friend} adds {b} of the same kind.",
)
LOSSES = (
    "{name} gives {b} to {friend}.",
    "Then {name} loses {b}.",
    "Later {friend} takes {b} of them.",
    "{name} sells {b} of them.",
    "{name} throws {b} away.",
)
QUESTIONS = (
    "How many {things} does {name} have now?",
    "How many {things} does {name} have in the end?",
    "What number of {things} does {name} have then?",
)
MORE = ("{friend} has {b} more than {name}.", "{friend} owns {b} {things} more.")
FEWER = ("{friend} has {b} fewer than {name}.", "{friend} owns {b} {things} less.")
TOGETHER = ("How many {things} do they have together?", "How many {things} do the two have in all?")

TEMPLATES = (*OPENINGS, *GROUPS, *GAINS, *LOSSES, *QUESTIONS, *MORE, *FEWER, *TOGETHER)
"""Every sentence a question is made of; a base meant for this task is not to have seen one of them."""

NUM_STEPS = (1, 2, 2, 2, 2, 3)
"""Steps of a story of comings and goings, as often as they stand here."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """A word problem."""

    question: str
    answer: str
    """The steps, and ``#### N`` on a line of its own."""
    solution: int


def draw_stories(seed: int) -> Iterator[Story]:
    """Problems without end, the same for the same seed; some come twice.

    >>> story = next(draw_stories(0))
    >>> story.answer.splitlines()[-1] == f"#### {story.solution}"
    True
    """
    rng = random.Random(seed)
    while True:
        yield _Teller(rng).tell()


class _Teller:
    """Tells one story: its people and things stay, its sentences and steps gather."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        name = self._pick(NAMES)
        self._words = {
            "name": name,
            "friend": self._pick([other for other in NAMES if other != name]),
            "things": self._pick(THINGS),
            "place": self._pick(PLACES),
        }
        self._sentences: list[str] = []
        self._steps: list[str] = []
        self._total = 0

    def tell(self) -> Story:
        """A story of comings and goings, every fifth time one that compares two people."""
        if self._rng.random() < 0.2:
            self._compare()
        else:
            self._change(self._pick(NUM_STEPS))
        return Story(
            question=" ".join(self._sentences),
            answer=" ".join(f"{step}." for step in self._steps) + f"\n#### {self._total}",
            solution=self._total,
        )

    def _change(self, num_steps: int) -> None:
        if self._rng.random() < 0.2:
            count, size = self._between(2, 5), self._between(2, 5)
            self._say(GROUPS, k=count, a=size)
            self._total = self._step(count, "*", size)
            num_steps = max(1, num_steps - 1)
        else:
            self._total = self._between(2, 20)
            self._say(OPENINGS, a=self._total)
        for _ in range(num_steps):
            self._come_or_go()
        self._say(QUESTIONS)

    def _come_or_go(self) -> None:
        room, rest = LARGEST - self._total, self._total - 1
        if rest < 1 or (room > 0 and self._rng.random() < 0.5):
            change = self._between(1, min(room, 12))
            self._say(GAINS, b=change)
            self._total = self._step(self._total, "+", change)
        else:
            change = self._between(1, min(rest, 12))
            self._say(LOSSES, b=change)
            self._total = self._step(self._total, "-", change)

    def _compare(self) -> None:
        if self._rng.random() < 0.5:
            first = self._between(2, 12)
            difference = self._between(1, min(10, LARGEST - 2 * first))
            templates, sign = MORE, "+"
        else:
            first = self._between(3, 15)
            difference = self._between(1, first - 1)
            templates, sign = FEWER, "-"
        self._say(OPENINGS, a=first)
        self._say(templates, b=difference)
        second = self._step(first, sign, difference)
        self._total = self._step(first, "+", second)
        self._say(TOGETHER)

    def _step(self, left: int, sign: str, right: int) -> int:
        result = {"+": left + right, "-": left - right, "*": left * right}[sign]
        assert 0 < result <= LARGEST, f"{left} {sign} {right}"
        self._steps.append(f"{left} {sign} {right} = {result}")
        return result

    def _say(self, templates: Sequence[str], **numbers: int) -> None:
        self._sentences.append(self._pick(templates).format(**self._words, **numbers))

    def _pick(self, items: Sequence[T]) -> T:
        # random() alone is promised to give the same numbers in every version of Python.
        return items[int(self._rng.random() * len(items))]

    def _between(self, low: int, high: int) -> int:
        return low + int(self._rng.random() * (high - low + 1))
