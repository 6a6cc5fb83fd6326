"""Summary rows -> a table for the terminal or for Markdown; what to show is decided once, for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from peftscope.spec.metric import MetricSpec
from peftscope.views.units import bytes_text, count_text, interval_text, rate_text, seconds_text

__all__ = ["markdown_table", "summary_cells", "terminal_table"]


def summary_cells(rows: Sequence[Mapping[str, Any]], metric: MetricSpec) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of a study's summary; failures keep their row, with the reason in it."""
    percent = metric.unit == "share"
    unit = " %" if percent else f" ({metric.unit})"
    headings = [
        "method", "lr", f"{metric.name}{unit} [95 %]", "gain over base", "trainable", "train memory",
        "train time", "checkpoint", "forgetting", "drift", "decode", "merged",
    ]  # fmt: skip
    cells = []
    for row in rows:
        failed = "; ".join(row["failures"])
        if row["score"] is None:
            cells.append([row["method"], rate_text(row["learning_rate"]), failed, *[""] * (len(headings) - 3)])
            continue
        score = interval_text(row["score"], row["score_interval"], percent=percent)
        cells.append(
            [
                row["method"] + (f" ({len(row['failures'])} failed)" if failed else ""),
                rate_text(row["learning_rate"]),
                score,
                interval_text(row["gain"], row["gain_interval"], percent=percent, signed=True),
                count_text(row["num_trainable_params"]) if not row["is_base"] else "0",
                bytes_text(row["peak_train_memory_bytes"]),
                seconds_text(row["train_time_s"]),
                bytes_text(row["checkpoint_bytes"]),
                _loss(row["forgetting"], signed=True),
                _loss(row["drift"]),
                seconds_text(row["decode_latency_adapter_b1_s"]),
                seconds_text(row["decode_latency_merged_b1_s"]),
            ]
        )
    return headings, cells


def terminal_table(headings: Sequence[str], cells: Sequence[Sequence[str]], *, title: str | None = None) -> Table:
    """A rich table; the first columns to the left, figures to the right."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, heading in enumerate(headings):
        table.add_column(
            heading,
            justify="left" if index == 0 else "right",
            overflow="fold",
            min_width=min(len(heading), 6),
        )
    for row in cells:
        table.add_row(*row)
    return table


def markdown_table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """The same as Markdown."""
    lines = [list(headings), ["---"] + ["---:"] * (len(headings) - 1), *[list(row) for row in cells]]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def _loss(value: float | None, *, signed: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if signed else ''}.3f}"
