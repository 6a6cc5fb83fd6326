"""Metrics as axes and texts: label, unit that fits the values, scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.verdict import Candidate, Pair
from peftscope.schema.metric import MetricSpec
from peftscope.views.units import metric_text

__all__ = ["Axis", "Reading", "axis_of", "difference_text", "plain", "range_text", "reading"]

LOG_FROM = 30.0
"""Largest over smallest from which an axis of costs is logarithmic."""
FLOOR = 4.0
"""A zero is drawn this many times below the smallest value that can be drawn on a logarithmic axis."""

_STEPS: Mapping[str, tuple[tuple[float, str], ...]] = {
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes")),
    "s": ((60.0, "min"), (1.0, "s"), (1e-3, "ms")),
    "count": ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"), (1.0, "")),
}
_MINUTES_FROM = 600.0


@dataclass(frozen=True, kw_only=True)
class Axis:
    """How a metric is drawn."""

    metric: MetricSpec
    label: str
    unit: str
    factor: float
    """Values are multiplied by it before they are drawn."""
    scale: str
    """``linear`` or ``log``."""
    floor: float | None = None
    """On a logarithmic axis, in its unit: where a zero is drawn."""

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def place(self, value: float | None) -> float | None:
        """Where a value is drawn, in the axis's unit."""
        if value is None or not math.isfinite(value):
            return None
        drawn = value * self.factor
        return plain(drawn if self.floor is None else max(drawn, self.floor))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A candidate's value of a metric with what is known of its spread."""

    value: float
    low: float | None
    high: float | None
    spread: str
    """What low and high are, or why there are none."""
    text: str


def axis_of(metric: MetricSpec, values: Iterable[float]) -> Axis:
    """The axis that fits the values of a metric.

    >>> axis_of(MetricSpec(name="m_bytes", unit="bytes", direction="lower", window=""), [2e9, 3e9]).title
    'm (GB)'
    """
    finite = [v for v in values if math.isfinite(v)]
    largest = max((abs(v) for v in finite), default=0.0)
    unit, factor = metric.unit.removeprefix("task").strip(), 1.0
    if metric.unit == "share":
        unit, factor = "%", 100.0
    elif metric.unit in _STEPS:
        steps = [s for s in _STEPS[metric.unit] if s[1] != "min" or largest >= _MINUTES_FROM]
        size, unit = next((s for s in steps if largest >= s[0]), steps[-1])
        factor = 1.0 / size
    smallest = min((v for v in finite if v > 0), default=0.0)
    wide = metric.unit in _STEPS and smallest > 0 and min(finite) >= 0 and largest / smallest > LOG_FROM
    return Axis(
        metric=metric,
        label=metric.title,
        unit=unit,
        factor=factor,
        scale="log" if wide else "linear",
        floor=smallest * factor / FLOOR if wide else None,
    )


def reading(candidate: Candidate, metric: MetricSpec, *, score: MetricSpec) -> Reading | None:
    """Value and spread of a metric; None where the candidate has none.

    The score has its interval; any other metric the range over the seeds, which is no interval.
    """
    if metric.name == score.name:
        if candidate.score is None or not math.isfinite(candidate.score.value):
            return None
        estimate = candidate.score
        spread = "95 % interval" if estimate.interval else "single run: no interval"
        text = estimate_text(metric, estimate)
        return Reading(value=estimate.value, low=estimate.low, high=estimate.high, spread=spread, text=text)
    figure = candidate.metrics.get(metric.name)
    if figure is None or not math.isfinite(figure.mean):
        return None
    if figure.num_runs < 2:
        return Reading(value=figure.mean, low=None, high=None, spread="one run", text=metric_text(metric, figure.mean))
    alike = figure.low == figure.high
    return Reading(
        value=figure.mean,
        low=figure.low,
        high=figure.high,
        spread=f"{'the same in all' if alike else 'smallest and largest of'} {figure.num_runs} runs",
        text=metric_text(metric, figure.mean),
    )


def range_text(metric: MetricSpec, read: Reading, *, score: MetricSpec) -> str | None:
    """Smallest and largest value over the seeds; None of a score, whose interval is told, and of one run."""
    if metric.name == score.name or read.low is None or read.high is None or read.low == read.high:
        return None
    return f"{metric_text(metric, read.low)} to {metric_text(metric, read.high)}"


def estimate_text(metric: MetricSpec, estimate: Estimate) -> str:
    """A value with its interval, as one would read it."""
    return metric_text(metric, estimate.value) + _ends(metric, estimate, signed=False)


def more_seeds_text(pair: Pair) -> str:
    """What more seeds of an undecided pair would show, as a part of a sentence; empty where nobody can say."""
    if pair.more_seeds is None:
        return ""
    count = "1 more seed" if pair.more_seeds.seeds == 1 else f"{pair.more_seeds.seeds} more seeds"
    shown = "distinguish {} from {}" if pair.more_seeds.shows == "apart" else "show {} and {} to be equivalent"
    return f"about {count} of each would {shown.format(pair.first, pair.second)}"


def difference_text(metric: MetricSpec, difference: Estimate) -> str:
    """A difference with its interval; of shares in points, which per cent would leave open.

    >>> accuracy = MetricSpec(name="accuracy", unit="share", direction="higher", window="")
    >>> difference_text(accuracy, Estimate(0.02, -0.01, 0.05))
    '+2.0 points [-1.0, +5.0]'
    """
    text = metric_text(metric, difference.value, signed=True)
    if metric.unit == "share":
        text = text.replace(" %", " points")
    return text + _ends(metric, difference, signed=True)


def _ends(metric: MetricSpec, estimate: Estimate, *, signed: bool) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    low, high = (metric_text(metric, v, signed=signed) for v in (estimate.low, estimate.high))
    return f" [{low}, {high}]".replace(" %", "")


def plain(value: float | None, digits: int = 6) -> float | None:
    """A number short enough to embed; None for what JSON has no word for.

    >>> plain(0.123456789), plain(float("nan"))
    (0.123457, None)
    """
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")
