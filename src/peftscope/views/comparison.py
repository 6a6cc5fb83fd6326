"""What a study's runs came to, as a terminal or a notebook shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from peftscope.analysis.fairness import Fairness
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import RunRecord
from peftscope.views.fairness import LOUD, fairness_lines, unfinished_lines
from peftscope.views.fitted_table import FittedTable
from peftscope.views.table import failure_lines, quality_and_cost

__all__ = ["comparison_parts", "fairness_parts", "interval_text"]


def comparison_parts(
    summary: Sequence[Mapping[str, Any]], metric: MetricSpec, metrics: Sequence[MetricSpec], *, title: str
) -> Iterator[RenderableType]:
    """Tables of quality and cost, and failed runs.

    Args:
        summary: From ``analysis.summary.summarise``.
        metric: The task's score.
        metrics: Everything else there may be a value of.
        title: Of the study.
    """
    yield Text(f"{title}: {metric.name}, {metric.window}", style="bold")
    tables = quality_and_cost(summary, metric, metrics)
    for table in tables:
        if len(tables) > 2:
            yield Text(table.title, style="bold")
        yield FittedTable(table)
    for line in failure_lines(summary):
        yield Text(line, style="red")


def interval_text(
    summary: Sequence[Mapping[str, Any]], records: Sequence[RunRecord], metrics: Sequence[MetricSpec]
) -> str:
    """What the intervals are over, and the unit of what stands in the table of quality without one."""
    count = len({record.spec.seed for record in records})
    over = "over test examples alone, one seed each" if count == 1 else f"over seeds ({count}) and test examples"
    headed = [m for m in metrics if m.heading and m.unit == "nats/token"]
    named = [m.title for m in headed if any(row.get(m.name) is not None for row in summary)]
    unit = f" {' and '.join(named).capitalize()} in nats per token." if named else ""
    return f"Intervals (95 %) are {over}, for the configuration each was run with.{unit}"


def fairness_parts(fairness: Fairness) -> Iterator[RenderableType]:
    """How equally the methods were treated; what was not finished first."""
    for line in unfinished_lines(fairness):
        yield Text(line, style="red")
    lines = fairness_lines(fairness)
    for number, line in enumerate(lines):
        yield Text(line, style="yellow" if LOUD in lines[: number + 1] else "")
