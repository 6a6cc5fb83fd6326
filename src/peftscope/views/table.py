"""Summary rows -> tables of texts, for a terminal or as Markdown; what to show is decided once, for both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peftscope.schema.metric import MetricSpec
from peftscope.views.line import one_line
from peftscope.views.units import interval_text, metric_text, rate_text

__all__ = ["TextTable", "failure_lines", "markdown_table", "quality_and_cost"]

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table as texts: the first column is a name, the others are figures."""

    title: str
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    sentences: Sequence[str] = ()
    """Headings of columns that may be broken between words; names and figures may not."""


def quality_and_cost(rows: Sequence[Row], metric: MetricSpec, metrics: Iterable[MetricSpec]) -> list[TextTable]:
    """Tables of a study's summary, narrow enough for 80 columns: what was learned, and what it cost.

    One of quality for each quality protocol, then one of cost for each cost protocol: nothing is ranked across.

    Args:
        rows: From ``analysis.summary.summarise``.
        metric: The task's score.
        metrics: What else there is; a column is shown for what has a heading and some row has.
    """
    shown = [m for m in metrics if m.heading and any(_values(row, m) for row in rows)]
    learned = [m for m in shown if m.group == "quality"]
    spent = [m for m in shown if m.group == "cost"]
    scored = [row for row in rows if row["score"] is not None]
    entries = [(row, cost) for row in scored for cost in row["costs"]]
    qualities = list(dict.fromkeys(row["quality_protocol"] for row in scored)) or [None]
    costs = list(dict.fromkeys(cost["cost_protocol"] for _, cost in entries)) or [None]
    return [
        *(
            TextTable(
                title=_title("quality", protocol, qualities),
                headings=("method", "lr", _score_heading(metric), "gain over base", *(m.heading for m in learned)),
                cells=[_quality(row, metric, learned) for row in scored if row["quality_protocol"] == protocol],
            )
            for protocol in qualities
        ),
        *(
            TextTable(
                title=_title("cost", protocol, costs),
                headings=("method", *(m.heading for m in spent)),
                cells=[_cost(row, cost, spent) for row, cost in entries if cost["cost_protocol"] == protocol],
            )
            for protocol in costs
        ),
    ]


def _title(kind: str, protocol: str | None, all_of_them: Sequence[str | None]) -> str:
    return kind if len(all_of_them) == 1 else f"{kind}, under conditions {str(protocol)[:8]}"


def failure_lines(rows: Sequence[Row]) -> list[str]:
    """A line for what failed of a method and why, with its number, and one per method of which trainings collapsed."""
    failed = [
        f"{row['method']}: {failure}" + (f" ({count} runs)" if count > 1 else "")
        for row in rows
        for failure, count in Counter[str](row["failures"]).items()
    ]
    fell = [row for row in rows if row.get("num_collapsed")]
    return [
        *failed,
        *(
            f"{r['method']}: {r['num_collapsed']} of {r['num_seeds']} trainings collapsed, far below its best"
            for r in fell
        ),
    ]


def markdown_table(table: TextTable) -> str:
    """The same as Markdown."""
    rule = ["---", *["---:"] * (len(table.headings) - 1)]
    lines = [list(table.headings), rule, *[list(row) for row in table.cells]]
    return "\n".join("| " + " | ".join(one_line(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _score_heading(metric: MetricSpec) -> str:
    return f"{metric.name} % [95 %]" if metric.unit == "share" else f"{metric.name} [95 %]"


def _quality(row: Row, metric: MetricSpec, learned: Sequence[MetricSpec]) -> list[str]:
    percent = metric.unit == "share"
    name = row["method"] + (f" ({len(row['failures'])} failed)" if row["failures"] else "")
    return [
        name,
        rate_text(row["learning_rate"]),
        interval_text(row["score"], row["score_interval"], percent=percent),
        interval_text(row["gain"], row["gain_interval"], percent=percent, signed=True),
        *(metric_text(m, row[m.name]) for m in learned),
    ]


def _cost(row: Row, cost: Row, spent: Sequence[MetricSpec]) -> list[str]:
    return [row["method"], *(metric_text(m, (cost if m.protocol == "cost" else row)[m.name]) for m in spent)]


def _values(row: Row, metric: MetricSpec) -> list[float]:
    """What a row has of a metric: one value, or one for each cost protocol."""
    places = row["costs"] if metric.protocol == "cost" else [row]
    return [place[metric.name] for place in places if place.get(metric.name) is not None]
