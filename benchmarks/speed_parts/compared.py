"""Figures of two sides held against each other; pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "NEAR_TIE",
    "Difference",
    "Goal",
    "answer_differences",
    "judged",
    "loss_difference",
    "rate",
    "ratio",
    "ratio_text",
]

NEAR_TIE = 1e-4
"""Two logits so near one another may fall either way when sums are added up in another order."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A mark, and what was reached; ``least`` and ``most`` None where a figure is told for information."""

    name: str
    value: float | None
    text: str
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the mark is met; None where there is none, or nothing was measured."""
        if self.value is None or (self.least is None and self.most is None):
            return None
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An answer that is another on the two sides."""

    row: int
    place: int
    """Tokens that both have in common."""
    gap: float | None = None
    """Of the reference's two largest logits there; None until it is known."""


def ratio(of: Sequence[float], to: Sequence[float]) -> dict[str, float]:
    """Median of one list over the median of another, with the range over pairs taken one after the other.

    >>> ratio([6.0, 8.0], [2.0, 2.0])
    {'median': 3.5, 'least': 3.0, 'most': 4.0}
    """
    pairs = [a / b for a, b in zip(of, to)]
    return {"median": statistics.median(of) / statistics.median(to), "least": min(pairs), "most": max(pairs)}


def ratio_text(found: dict[str, float]) -> str:
    """A ratio with its range.

    >>> ratio_text({"median": 3.5, "least": 3.0, "most": 4.0})
    '3.50 (3.00 to 4.00)'
    """
    return f"{found['median']:.2f} ({found['least']:.2f} to {found['most']:.2f})"


def rate(steps: Sequence[dict[str, float]], *, skip: int) -> float:
    """Tokens a second of a training, padding and its first steps left out.

    >>> rate([{"seconds": 9, "tokens": 1}, {"seconds": 2, "tokens": 300}, {"seconds": 1, "tokens": 300}], skip=1)
    200.0
    """
    timed = steps[skip:]
    return sum(step["tokens"] for step in timed) / sum(step["seconds"] for step in timed)


def loss_difference(wanted: Sequence[dict[str, float]], given: Sequence[dict[str, float]]) -> float:
    """Largest difference of the losses of one step, as a share of the loss; the same steps on the same batches.

    Raises:
        ValueError: They are not the same number of steps, or not of the same tokens.
    """
    if [step["tokens"] for step in wanted] != [step["tokens"] for step in given]:
        raise ValueError("the two sides were not trained on the same batches")
    return max(abs(a["loss"] - b["loss"]) / abs(a["loss"]) for a, b in zip(wanted, given, strict=True))


def answer_differences(
    wanted: Sequence[Sequence[int]], given: Sequence[dict[str, Any]], decode: Callable[[Sequence[int]], str]
) -> list[Difference]:
    """Answers that are not the same token for token, and where they part.

    Args:
        wanted: Token ids of the reference's answers.
        given: The other side's, as ``text`` and ``num_tokens``.
        decode: Token ids as a text, the way the other side's texts were made.
    """
    found = []
    for row, (ids, answer) in enumerate(zip(wanted, given, strict=True)):
        if decode(ids) == answer["text"] and len(ids) == answer["num_tokens"]:
            continue
        common = (n for n in range(len(ids), 0, -1) if answer["text"].startswith(decode(ids[:n])))
        # An answer that ends sooner has at most its own tokens in common, its end not among them.
        found.append(Difference(row=row, place=min(next(common, 0), len(ids) - 1, answer["num_tokens"] - 1)))
    return found


def judged(num_answers: int, differences: Sequence[Difference]) -> dict[str, Any]:
    """How many answers are the same, differ at a near tie, or differ beyond one."""
    beyond = [d for d in differences if d.gap is None or d.gap > NEAR_TIE]
    return {
        "answers": num_answers,
        "same": num_answers - len(differences),
        "near_ties": len(differences) - len(beyond),
        "different": len(beyond),
        "differences": [asdict(difference) for difference in differences],
    }
