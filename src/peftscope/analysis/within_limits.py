"""Limits on a choice, and by how much a method breaks them.

A quantity that can be limited is declared by the ``limit`` of its ``MetricSpec``, in
``measures/metrics_limits_columns.py`` or a plug-in's entry; nothing here has to be edited for a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from peftscope.analysis.traits import Traits
from peftscope.analysis.verdict import Candidate, Verdict
from peftscope.schema.metric import MetricSpec

__all__ = [
    "FORGETTING",
    "SCORE",
    "Breach",
    "Excluded",
    "Limits",
    "cheap_of",
    "excluded_by",
    "metric_for",
    "quantities_of",
    "value_of",
]

SCORE = "score"
FORGETTING = "forgetting"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Hard limits; None sets none."""

    costs: Mapping[str, float] = field(default_factory=dict)
    """The most of a quantity, such as ``memory`` in bytes, by what metrics' ``limit`` calls it."""
    score: float | None = None
    """The least, or where less is better the most."""
    needs: tuple[str, ...] = ()
    """What it has to be able to, by the names that ``Traits.abilities`` holds."""
    is_merged: bool = False
    """Whether it will be merged, so that what is measured merged counts."""
    keep_of_base: float | None = None
    """Share of the base that is to be kept, from which the limit on forgetting is; None where nobody asked for it."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Amounts as they were written, to be shown; none of a number."""


def quantities_of(metrics: Iterable[MetricSpec]) -> dict[str, tuple[str, ...]]:
    """What limits and preferences are about -> the metrics that measure it, the best first.

    >>> spec = MetricSpec(name="train_time_s", unit="s", direction="lower", window="", limit="time")
    >>> quantities_of([spec])
    {'score': (), 'time': ('train_time_s',)}
    """
    found: dict[str, tuple[str, ...]] = {SCORE: ()}
    for metric in metrics:
        if metric.limit is not None:
            found[metric.limit] = (*found.get(metric.limit, ()), metric.name)
    return found


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A limit that is not kept."""

    limit: str
    """Quantity, or what is needed."""
    value: float | None
    """None where it was not measured, so that nobody knows whether it is kept."""
    bound: float | None


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A method the limits leave out, with every limit it breaks."""

    method: str
    breaches: tuple[Breach, ...]


def cheap_of(metrics: Iterable[MetricSpec]) -> tuple[str, ...]:
    """Quantities that make a method cheap: what training takes; forgetting and latency are the result's quality."""
    return tuple(dict.fromkeys(m.limit for m in metrics if m.limit and m.group == "cost" and m.needs_training))


def metric_for(names: Sequence[str], candidates: Sequence[Candidate], *, merged: bool = False) -> str | None:
    """The metric a quantity is read from: of those that measure it the one most candidates have, of equals the first.

    Args:
        names: Metrics that measure the quantity.
        candidates: What it is read of.
        merged: Whether the adapter will be merged, so that what is measured merged comes first.
    """
    names = sorted(names, key=lambda name: "merged" not in name) if merged else names
    counts = {name: sum(name in c.metrics and not c.is_base for c in candidates) for name in names}
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] else None


def value_of(candidate: Candidate, quantity: str, metrics: Mapping[str, str]) -> float | None:
    """Mean over the seeds; None where it was not measured."""
    figure = candidate.metrics.get(metrics[quantity]) if quantity in metrics else None
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
    known = traits.get(candidate.card)
    able = frozenset() if known is None else known.abilities
    if not candidate.is_base:
        found += [Breach(limit=need, value=None, bound=None) for need in limits.needs if need not in able]
    return Excluded(method=candidate.method, breaches=tuple(found)) if found else None


def _costly(candidate: Candidate, limits: Limits, metrics: Mapping[str, str]) -> list[Breach]:
    found = []
    for quantity, bound in limits.costs.items():
        figure = candidate.metrics.get(metrics[quantity]) if quantity in metrics else None
        if figure is None or figure.high > bound:
            found.append(Breach(limit=quantity, value=None if figure is None else figure.high, bound=bound))
    return found
