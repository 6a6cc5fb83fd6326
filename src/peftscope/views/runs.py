"""Records -> tables of single runs, one table per set of conditions: nothing is ranked across two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from peftscope.schema.record import RunRecord
from peftscope.views.table import TextTable
from peftscope.views.units import DASH, bytes_text, count_text, loss_text, rate_text, seconds_text

__all__ = ["run_failures", "run_tables"]

_NARROW_NAME = 38
"""Characters of a name that leave room for five figures in 80 columns."""


@dataclass(frozen=True, kw_only=True)
class _Column:
    metric: str
    heading: str
    text: Callable[[float | None], str]
    wide: bool = False
    """Left out where a table has to be narrow."""


_COLUMNS = (
    _Column(metric="test_score", heading="score", text=loss_text),
    _Column(metric="forgetting", heading="forgetting", text=loss_text, wide=True),
    _Column(metric="drift", heading="drift", text=loss_text, wide=True),
    _Column(metric="num_trainable_params", heading="trained", text=count_text, wide=True),
    _Column(metric="train_time_s", heading="train", text=seconds_text),
    _Column(metric="upstream_step_time_s", heading="step", text=seconds_text, wide=True),
    _Column(metric="peak_train_memory_bytes", heading="train mem", text=bytes_text),
    _Column(metric="peak_train_reserved_bytes", heading="train res.", text=bytes_text),
    _Column(metric="upstream_peak_reserved_bytes", heading="peak res.", text=bytes_text),
    _Column(metric="checkpoint_bytes", heading="file", text=bytes_text),
)
"""A column is shown where some run of the table has its metric."""


def run_tables(records: Iterable[RunRecord], *, narrow: bool) -> list[TextTable]:
    """One table for each task and quality protocol, best score first, runs without one last.

    Args:
        records: Runs of any kind; those of the largest set of conditions come first.
        narrow: Leave out what a terminal has no room for.
    """
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        groups.setdefault((record.spec.task.name, record.quality_protocol or "unknown"), []).append(record)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1]))
    return [_table(task, protocol, runs, narrow=narrow) for (task, protocol), runs in ordered]


def run_failures(records: Iterable[RunRecord]) -> list[str]:
    """One line per run that is not ``ok``, with its reason."""
    return [f"{r.spec.title}: {r.status}: {_first_line(r.reason)}" for r in records if r.status != "ok"]


def _table(task: str, protocol: str, runs: Sequence[RunRecord], *, narrow: bool) -> TextTable:
    shown = [
        column
        for column in _COLUMNS
        if not (narrow and column.wide) and any(run.metrics.get(column.metric) is not None for run in runs)
    ]
    fixed = ("run",) if narrow else ("run", "technique", "lr", "seed", "status")
    best_first = sorted(runs, key=lambda run: (run.metrics.get("test_score") is None, -_score(run), run.spec.title))
    return TextTable(
        title=f"{task}, conditions {protocol}: {len(runs)} {'run' if len(runs) == 1 else 'runs'}",
        headings=(*fixed, *(column.heading for column in shown)),
        cells=[[*_fixed(run, narrow), *(c.text(run.metrics.get(c.metric)) for c in shown)] for run in best_first],
    )


def _fixed(run: RunRecord, narrow: bool) -> list[str]:
    spec = run.spec
    title = " ".join(spec.method.title.split())  # a label from elsewhere may hold line breaks
    if narrow:
        return [_middle_cut(title) if run.status == "ok" else f"{_middle_cut(title)} ({run.status})"]
    return [title, spec.method.name, rate_text(spec.learning_rate), str(spec.seed), run.status]


def _middle_cut(text: str) -> str:
    """What tells labels apart stands at their ends, such as ``lora/llama-3.2-3B-rank64``."""
    half = _NARROW_NAME // 2
    return text if len(text) <= _NARROW_NAME else f"{text[: half - 1]}…{text[-half:]}"


def _score(run: RunRecord) -> float:
    """The score, higher is better."""
    sign = -1.0 if run.metric is not None and run.metric.direction == "lower" else 1.0
    return sign * (run.metrics.get("test_score") or 0.0)


def _first_line(text: str | None) -> str:
    return (text or DASH).splitlines()[0]
