"""Verdicts made by hand."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.power import More
from peftscope.analysis.verdict import Candidate, FailedRun, MetricSummary, Pair, PairVerdict, Verdict
from peftscope.schema.metric import MetricSpec

__all__ = ["ACCURACY", "LOSS", "a_candidate", "a_verdict", "failures"]

ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="test")
LOSS = MetricSpec(name="held_out_loss", unit="nats/token", direction="lower", window="test")


def a_candidate(method: str, score: float, half: float | None = 0.03, **parts: Any) -> Candidate:
    metrics = {
        name: MetricSummary(mean=value, low=value, high=value, num_runs=3)
        for name, value in parts.pop("metrics", {}).items()
    }
    known: dict[str, Any] = {"num_seeds": 3, "num_examples": 1000, "card": method, "metrics": metrics}
    interval = (None, None) if half is None else (score - half, score + half)
    return Candidate(method=method, score=Estimate(score, *interval), **{**known, **parts})


def failures(*told: str) -> tuple[FailedRun, ...]:
    """Failures as they are printed: ``status: reason``."""
    return tuple(
        FailedRun(status=status, reason=reason) for status, _, reason in (text.partition(": ") for text in told)
    )


def a_verdict(
    *candidates: Candidate, metric: MetricSpec = ACCURACY, told: Mapping[tuple[str, str], PairVerdict] | None = None
) -> Verdict:
    """Pairs more than 5 points apart are decided, those less than 1 apart are equivalent, unless told otherwise."""
    sign = -1.0 if metric.direction == "lower" else 1.0
    ranked = sorted(candidates, key=lambda c: (not c.is_base, -sign * (c.score.value if c.score else 0)))
    return Verdict(
        metric=metric, margin=0.02, level=0.95, candidates=tuple(ranked), pairs=tuple(_pairs(ranked, sign, told or {})),
        tiers=(),
    )  # fmt: skip


def _pairs(candidates: Sequence[Candidate], sign: float, told: Mapping[tuple[str, str], PairVerdict]) -> list[Pair]:
    found = []
    for first, second in itertools.combinations([c for c in candidates if c.score and not c.single], 2):
        assert first.score is not None
        assert second.score is not None
        value = sign * (first.score.value - second.score.value)
        if value < 0:
            first, second, value = second, first, -value
        verdict: PairVerdict = "better" if value > 0.05 else "equivalent" if value < 0.01 else "undecided"
        verdict = told.get((first.method, second.method), verdict)
        found.append(
            Pair(
                first=first.method,
                second=second.method,
                difference=Estimate(value, value - 0.04, value + 0.04),
                p_value=0.01,
                p_adjusted=0.02,
                p_equivalent=None,
                verdict=verdict,
                superiority=0.9,
                more_seeds=More(seeds=4, shows="apart") if verdict == "undecided" else None,
            )
        )
    return found
