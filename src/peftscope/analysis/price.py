"""What a gain costs in forgetting: nats per token of general text, for each point of the score over the base."""

from __future__ import annotations

from dataclasses import dataclass

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.recommendation import Recommendation
from peftscope.analysis.within_limits import FORGETTING, value_of

__all__ = ["Price", "prices_of"]

POINT = 0.01
"""A point of a share."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """A detectable gain, and what it costs."""

    method: str
    gain: Estimate
    """Over the base, positive is better."""
    forgetting: float
    """Mean over the seeds, in nats per token."""
    per_point: float | None
    """Of a point of a share, else of one of the score's unit; None where nothing was forgotten."""


def prices_of(found: Recommendation) -> tuple[Price, ...]:
    """The price for the choice and those tied with it, where the gain is detectable and forgetting was measured."""
    if found.choice is None or found.choice.is_base or found.base is None:
        return ()
    unit = POINT if found.verdict.metric.unit == "share" else 1.0
    prices = []
    for method in (found.choice.method, *(tie.method for tie in found.ties)):
        candidate = found.verdict.candidate(method)
        pair = found.verdict.pair(method, found.base.method)
        forgetting = value_of(candidate, FORGETTING, found.metrics)
        if candidate.is_base or pair is None or pair.verdict != "better" or forgetting is None:
            continue
        gain = pair.difference
        per_point = forgetting / (gain.value / unit) if forgetting > 0.0 and gain.value > 0.0 else None
        prices.append(Price(method=method, gain=gain, forgetting=forgetting, per_point=per_point))
    return tuple(prices)
