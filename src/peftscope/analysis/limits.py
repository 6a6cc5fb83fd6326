"""What a choice has to keep, and by how much a technique breaks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peftscope.analysis.traits import Traits
from peftscope.analysis.verdict import Candidate, Verdict

__all__ = ["QUANTITIES", "SCORE", "Breach", "Excluded", "Limits", "excluded_by", "metric_for", "value_of"]

SCORE = "score"
QUANTITIES: Mapping[str, tuple[str, ...]] = {
    SCORE: (),
    "memory": ("peak_train_memory_bytes", "peak_train_reserved_bytes", "upstream_peak_reserved_bytes"),
    "checkpoint": ("checkpoint_bytes",),
    "time": ("train_time_s", "upstream_train_time_s"),
    "forgetting": ("forgetting", "upstream_forgetting"),
    "latency": ("decode_latency_adapter_b1_s", "decode_latency_merged_b1_s"),
}
"""What limits and preferences are about -> the metrics that measure it, the best first."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Hard limits; None sets none."""

    memory: float | None = None
    """Bytes at the peak of training."""
    checkpoint: float | None = None
    """Bytes."""
    time: float | None = None
    """Seconds of training."""
    forgetting: float | None = None
    latency: float | None = None
    """Seconds of a decoding step."""
    score: float | None = None
    """The least, or where less is better the most."""
    mergeable: bool = False
    """It can be merged into the base."""

    @property
    def of_costs(self) -> dict[str, float]:
        """Quantity -> the most of it."""
        names = [name for name in QUANTITIES if name != SCORE]
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A limit that is not kept."""

    limit: str
    """Quantity, or ``mergeable``."""
    value: float | None
    """None where it was not measured, so that nobody knows whether it is kept."""
    bound: float | None


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A technique the limits leave out, with every limit it breaks."""

    method: str
    breaches: tuple[Breach, ...]


def metric_for(quantity: str, candidates: Sequence[Candidate], *, merged: bool = False) -> str | None:
    """The metric a quantity is read from: the one most candidates have, of equals the first.

    Args:
        merged: Whether the adapter will be merged, so that its latency is that of the merged model.
    """
    names = QUANTITIES[quantity]
    names = tuple(reversed(names)) if quantity == "latency" and merged else names
    counts = {name: sum(name in c.figures and not c.is_base for c in candidates) for name in names}
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] else None


def value_of(candidate: Candidate, quantity: str, metrics: Mapping[str, str]) -> float | None:
    """Mean over the seeds; None where it was not measured."""
    figure = candidate.figures.get(metrics[quantity]) if quantity in metrics else None
    return None if figure is None else figure.mean


def excluded_by(
    candidate: Candidate, verdict: Verdict, limits: Limits, metrics: Mapping[str, str], traits: Mapping[str, Traits]
) -> Excluded | None:
    """What of the limits a candidate breaks; None where it keeps them all.

    A cost has to keep its limit in every run, so the largest over the seeds counts; of the score it is the estimate.
    The untouched base is not trained and saved, and costs nothing of that.
    """
    found = [] if candidate.is_base else _costly(candidate, limits, metrics)
    assert candidate.score is not None
    if limits.score is not None:
        lower = verdict.metric.direction == "lower"
        kept = candidate.score.value <= limits.score if lower else candidate.score.value >= limits.score
        if not kept:
            found.append(Breach(limit=SCORE, value=candidate.score.value, bound=limits.score))
    known = traits.get(candidate.technique)
    if limits.mergeable and not candidate.is_base and (known is None or not known.mergeable):
        found.append(Breach(limit="mergeable", value=None, bound=None))
    return Excluded(method=candidate.method, breaches=tuple(found)) if found else None


def _costly(candidate: Candidate, limits: Limits, metrics: Mapping[str, str]) -> list[Breach]:
    found = []
    for quantity, bound in limits.of_costs.items():
        figure = candidate.figures.get(metrics[quantity]) if quantity in metrics else None
        if figure is None or figure.high > bound:
            found.append(Breach(limit=quantity, value=None if figure is None else figure.high, bound=bound))
    return found
