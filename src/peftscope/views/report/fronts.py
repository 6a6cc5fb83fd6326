"""Every front the page can show, for any two metrics: nothing is computed in the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from peftscope.analysis.front import Front
from peftscope.analysis.verdict import Candidate, Verdict
from peftscope.schema.metric import MetricSpec
from peftscope.views.report.content import ReportContent
from peftscope.views.report.quantities import Axis, axis_of, range_text, reading

__all__ = ["axes_of", "axis_data", "front_data", "is_single", "metrics_with_values"]

BETTER = {"higher": "more is better", "lower": "less is better", "neutral": "neither way is better"}


def metrics_with_values(content: ReportContent) -> list[MetricSpec]:
    """Metrics with a better side that at least one candidate has, the score first."""
    score = content.verdict.metric
    wanted = {score.name: score, **{metric.name: metric for metric in content.metrics}}
    return [
        metric
        for metric in wanted.values()
        if metric.direction != "neutral"
        and any(reading(c, metric, score=score) is not None for c in content.verdict.candidates)
    ]


def axes_of(metrics: Sequence[MetricSpec], verdict: Verdict) -> dict[str, Axis]:
    """An axis for each metric, fitted to the candidates' values."""
    axes = {}
    for metric in metrics:
        readings = [reading(c, metric, score=verdict.metric) for c in verdict.candidates]
        axes[metric.name] = axis_of(metric, [r.value for r in readings if r is not None])
    return axes


def front_data(content: ReportContent, axes: Mapping[str, Axis]) -> dict[str, Any]:
    """Axes, points and fronts as plain data.

    Returns:
        ``axes`` by metric; ``points`` by metric and method (value and ends in the axis's unit, text, what the ends
        are); ``fronts``: one for every two metrics, in either order of them; ``default``: the two shown first.
    """
    verdict = content.verdict
    fronts = {
        "|".join(metric.name for metric in front.metrics): _front(front)
        for front in content.fronts
        if len(front.metrics) == 2 and all(metric.name in axes for metric in front.metrics)
    }
    named = [name for name in axes if any(name in key.split("|") for key in fronts)]
    return {
        "axes": {name: axis_data(axes[name]) for name in named},
        "points": {name: _points(axes[name], verdict) for name in named},
        "fronts": fronts,
        "default": _default(axes, named, fronts, verdict.metric.name),
    }


def axis_data(axis: Axis) -> dict[str, Any]:
    """An axis as plain data."""
    return {
        "label": axis.label,
        "title": axis.title,
        "direction": axis.metric.direction,
        "better": BETTER[axis.metric.direction],
        "window": axis.metric.window,
        "scale": axis.scale,
        "floor": axis.floor,
        "factor": axis.factor,
        "short": axis.unit,
    }


def _points(axis: Axis, verdict: Verdict) -> dict[str, Any]:
    found = {}
    for candidate in verdict.candidates:
        read = reading(candidate, axis.metric, score=verdict.metric)
        if read is not None:
            found[candidate.method] = {
                "value": axis.place(read.value),
                "low": axis.place(read.low),
                "high": axis.place(read.high),
                "text": read.text,
                "spread": read.spread,
                "exact": [read.value, read.low, read.high],
                "range": range_text(axis.metric, read, score=verdict.metric),
            }
    return found


def _front(front: Front) -> dict[str, Any]:
    return {
        "members": list(front.members),
        "points": sorted(front.points),
        "membership": {method: p for method, p in front.membership.items() if p is not None},
        "removable": {method: list(others) for method, others in front.removable.items()},
        "notes": list(front.notes),
    }


def _default(axes: Mapping[str, Axis], named: Sequence[str], fronts: Mapping[str, Any], score: str) -> list[str] | None:
    """Horizontal and vertical metric at first: training memory and the score where both are there."""
    pairs = [set(key.split("|")) for key in fronts]
    for memory in [*(name for name in named if axes[name].metric.limit == "memory"), *named]:
        if memory != score and {memory, score} in pairs:
            return [memory, score]
    return sorted(pairs[0]) if pairs else None


def is_single(candidate: Candidate) -> bool:
    """Whether a candidate was trained once, or has no interval; the base is not trained."""
    return candidate.single or (candidate.num_seeds == 1 and not candidate.is_base)
