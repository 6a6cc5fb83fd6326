"""Scores that look like learning and may not be: one answer for every row, answers that cannot be given, none right.

Each is a fact that the runs measured; here it is decided which of them a reader has to know beside a recommendation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from peftscope.analysis.verdict import Candidate
from peftscope.schema.metric import MetricSpec

__all__ = ["Suspicion", "is_above", "majority_of", "suspicions"]

MANY = 0.2
"""Share of cut or run-on answers from which it is told."""
MAJORITY, SAME, UNREACHABLE = "majority_score", "same_answer_share", "unreachable_share"
GIVEN_AWAY, RUN_ON, CUT_OFF = "target_in_prompt_share", "run_on_share", "truncated_share"
"""Metrics of answers, as tasks and the score give them."""


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """Something that speaks against taking scores for learning."""

    kind: Literal["constant", "majority", "unreachable", "none_right", "given_away", "run_on", "cut_off"]
    methods: tuple[str, ...]
    """Whom it concerns."""
    value: float
    """The share or score it rests on."""


def majority_of(candidates: Sequence[Candidate]) -> float | None:
    """What always giving the commonest answer of the training rows would score; None where nobody measured it."""
    return max((v for c in candidates if (v := _mean(c, MAJORITY)) is not None), default=None)


def is_above(candidate: Candidate, line: float | None) -> bool:
    """Whether a score is detectably above a constant; where there is no interval, whether it is above."""
    if line is None or candidate.score is None:
        return True
    low = candidate.score.low if candidate.score.low is not None else candidate.score.value
    return low > line


def suspicions(candidates: Sequence[Candidate], metric: MetricSpec) -> tuple[Suspicion, ...]:
    """What speaks against scores, the gravest first.

    Args:
        candidates: The methods, and the untouched base.
        metric: The task's.
    """
    trained = [c for c in candidates if not c.is_base and c.score is not None]
    found: list[Suspicion | None] = [_shared("constant", SAME, trained, lambda share: share >= 1.0)]
    if metric.unit == "share" and metric.direction == "higher":
        line = majority_of(candidates)
        below = [c for c in trained if not is_above(c, line)]
        if line is not None and below:
            found.append(Suspicion(kind="majority", methods=_names(below), value=line))
        scores = [c.score.value for c in trained if c.score is not None]
        if scores and max(scores) <= 0.0:
            found.append(Suspicion(kind="none_right", methods=_names(trained), value=0.0))
        perfect = [c for c in trained if c.score is not None and c.score.value >= 1.0]
        found.append(_shared("given_away", GIVEN_AWAY, perfect, lambda share: share >= 1.0))
    found.append(_shared("unreachable", UNREACHABLE, trained, lambda share: share > 0.0))
    found.append(_shared("cut_off", CUT_OFF, trained, lambda share: share >= MANY))
    found.append(_shared("run_on", RUN_ON, trained, lambda share: share >= MANY))
    return tuple(suspicion for suspicion in found if suspicion is not None)


def _shared(
    kind: Literal["constant", "unreachable", "given_away", "run_on", "cut_off"],
    name: str,
    candidates: Sequence[Candidate],
    counts: Callable[[float], bool],
) -> Suspicion | None:
    """Those of which a metric is so large as to be told."""
    values = {c.method: value for c in candidates if (value := _mean(c, name)) is not None and counts(value)}
    return Suspicion(kind=kind, methods=tuple(values), value=max(values.values())) if values else None


def _names(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    return tuple(candidate.method for candidate in candidates)


def _mean(candidate: Candidate, name: str) -> float | None:
    summary = candidate.metrics.get(name)
    return None if summary is None else summary.mean
