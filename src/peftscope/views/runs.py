"""Records -> tables of single runs, one table per set of conditions: nothing is ranked across two of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import RunRecord
from peftscope.views.table import TextTable
from peftscope.views.units import DASH, loss_text, metric_text, rate_text

__all__ = ["run_failures", "run_tables"]


def run_tables(records: Iterable[RunRecord], metrics: Iterable[MetricSpec], *, narrow: bool) -> list[TextTable]:
    """One table for each task and quality protocol, best score first, runs without one last.

    Args:
        records: Runs of any kind; those of the largest set of conditions come first.
        metrics: What there is beside the score; a column is shown for what has a heading and some run has.
        narrow: Leave out what a terminal has no room for.
    """
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        groups.setdefault((record.spec.task.name, record.quality_protocol or "unknown"), []).append(record)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1]))
    headed = [metric for metric in metrics if metric.heading]
    return [_table(task, protocol, runs, headed, narrow=narrow) for (task, protocol), runs in ordered]


def run_failures(records: Iterable[RunRecord]) -> list[str]:
    """One line per run that is not ``ok``, with its reason."""
    return [f"{r.spec.title}: {r.status}: {_first_line(r.reason)}" for r in records if r.status != "ok"]


def _table(
    task: str, protocol: str, runs: Sequence[RunRecord], metrics: Sequence[MetricSpec], *, narrow: bool
) -> TextTable:
    shown = [
        metric
        for metric in metrics
        if not (narrow and not _is_price(metric)) and any(run.metrics.get(metric.name) is not None for run in runs)
    ]
    fixed = ("run",) if narrow else ("run", "method", "lr", "seed", "status")
    best_first = sorted(runs, key=lambda run: (run.metrics.get("test_score") is None, -_score(run), run.spec.title))
    return TextTable(
        title=f"{task}, conditions {protocol}: {len(runs)} {'run' if len(runs) == 1 else 'runs'}",
        headings=(*fixed, "score", *(metric.heading for metric in shown)),
        cells=[
            [
                *_fixed(run, narrow),
                loss_text(run.metrics.get("test_score")),
                *(metric_text(metric, run.metrics.get(metric.name)) for metric in shown),
            ]
            for run in best_first
        ],
    )


def _is_price(metric: MetricSpec) -> bool:
    """Whether a narrow table has room for it: what can be limited and is no quality of the result."""
    return metric.limit is not None and metric.group == "cost" and "merged" not in metric.name


def _fixed(run: RunRecord, narrow: bool) -> list[str]:
    spec = run.spec
    title = " ".join(spec.method.title.split())  # a label from elsewhere may hold line breaks
    if narrow:
        return [title if run.status == "ok" else f"{title} ({run.status})"]
    return [title, spec.method.name, rate_text(spec.learning_rate), str(spec.seed), run.status]


def _score(run: RunRecord) -> float:
    """The score, higher is better."""
    sign = -1.0 if run.metric is not None and run.metric.direction == "lower" else 1.0
    return sign * (run.metrics.get("test_score") or 0.0)


def _first_line(text: str | None) -> str:
    return (text or DASH).splitlines()[0]
