"""What a change of one trained model does to its score: before and after, paired by example.

The training is one and the same on both sides, so that examples alone are the sample. Draws of an example are averaged,
and examples of one group count as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from peftscope.analysis.clusters import codes_of, parts_of_groups
from peftscope.analysis.criteria import Criteria
from peftscope.analysis.distributions import t_quantile
from peftscope.schema.record import ExampleOutcome

__all__ = ["ScoreChange", "score_change"]

FEW = 5
"""Examples that changed, below which a spread of changes is not to be had from them."""
Kept = Literal["equivalent", "better", "worse", "undecided"]


@dataclass(frozen=True, kw_only=True)
class ScoreChange:
    """A score before and after."""

    before: float
    after: float
    change: float
    """After less before, mean over examples."""
    interval: tuple[float, float]
    """Of the change, at 95 %."""
    verdict: Kept
    margin: float | None
    """Within which a change does not matter; None where there is none."""
    num_examples: int
    num_changed: int
    """Examples with another score."""


def score_change(
    before: Sequence[ExampleOutcome], after: Sequence[ExampleOutcome], criteria: Criteria, *, sign: float
) -> ScoreChange:
    """The change of a mean score.

    Args:
        before: Of every example (and draw).
        after: Of the same ones.
        criteria: Level and margin.
        sign: 1 where a higher score is better, else -1.

    Raises:
        ValueError: They are not of the same examples.
    """
    first, second = _by_example(before), _by_example(after)
    if first.keys() != second.keys():
        raise ValueError("scores before and after are not of the same examples")
    pairs = [(first[key][0], second[key][0], first[key][1]) for key in first]
    differences = np.array([other - one for one, other, _ in pairs])
    codes = codes_of([group for _, _, group in pairs])
    if codes is not None:
        differences = parts_of_groups(differences[None], codes)[0]
    change = float(differences.mean())
    scores = [score for one, other, _ in pairs for score in (one, other)]
    is_binary = set(scores) <= {0.0, 1.0}  # right or wrong: an answer may turn round, were there none yet that did
    error = 1.0 - criteria.level
    spread = 1.0 if is_binary else (max(scores) - min(scores) or max(map(abs, scores)) or 1.0)
    wide = _half(differences, 1.0 - error / 2.0, spread)
    verdict: Kept = "undecided"
    if criteria.margin is not None and _is_within(differences, criteria.margin, 1.0 - error, spread, is_binary):
        verdict = "equivalent"
    elif abs(change) > wide:
        verdict = "better" if sign * change > 0 else "worse"
    return ScoreChange(
        before=float(np.mean([one for one, _, _ in pairs])),
        after=float(np.mean([other for _, other, _ in pairs])),
        change=change,
        interval=(change - wide, change + wide),
        verdict=verdict,
        margin=criteria.margin,
        num_examples=len(pairs),
        num_changed=sum(one != other for one, other, _ in pairs),
    )


def _by_example(outcomes: Sequence[ExampleOutcome]) -> dict[str, tuple[float, str | None]]:
    found: dict[str, list[ExampleOutcome]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.example_id, []).append(outcome)
    return {key: (float(np.mean([o.score for o in rows])), rows[0].group) for key, rows in found.items()}


def _is_within(
    differences: np.ndarray[tuple[int], np.dtype[np.float64]],
    margin: float,
    probability: float,
    spread: float,
    is_binary: bool,
) -> bool:
    """Whether the mean is surely within the margin: two one-sided tests.

    Of right and wrong answers, as many have to change at the margin's edge as the margin says, which gives a variance
    that few changes seen would understate.
    """
    half = _half(differences, probability, spread)
    count = len(differences)
    if is_binary and margin < 1.0 and count > 1:
        edge = math.sqrt(margin * (1.0 - margin) / count)
        half = max(half, float(t_quantile(probability, count - 1)) * edge)
    return abs(float(differences.mean())) + half <= margin


def _half(differences: np.ndarray[tuple[int], np.dtype[np.float64]], probability: float, spread: float) -> float:
    """Half of an interval of the mean: Student's.

    Where next to nothing changed, chance may have hidden changes as large as scores can be, in up to 1 - α^(1/n) of the
    examples.
    """
    count = len(differences)
    if count < 2:
        return math.inf
    error = float(differences.std(ddof=1)) / math.sqrt(count)
    half = float(t_quantile(probability, count - 1)) * error
    if np.count_nonzero(differences) < FEW:
        half = max(half, spread * (1.0 - (1.0 - probability) ** (1.0 / count)))
    return half
