"""One row per method and learning rate, over its seeds; failures are shown and counted.

Scores are averaged and set against the base within one quality protocol, times and memory averaged within one
cost protocol: a method measured under two has two rows, or two entries of cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from peftscope.analysis.answers import answers_in
from peftscope.analysis.estimates import LEVEL, Estimate
from peftscope.analysis.intervals import mean_intervals
from peftscope.analysis.pairs import gains_of
from peftscope.analysis.study_verdict import final_runs, trained_in
from peftscope.schema.metric import MetricSpec

__all__ = ["summarise"]


def summarise(
    runs: pd.DataFrame,
    examples: pd.DataFrame,
    *,
    base: str,
    metrics: Sequence[MetricSpec],
    higher_is_better: bool = True,
    across: bool = False,
) -> list[dict[str, Any]]:
    """Rows for a table: score and gain over the base (positive is better), each with its interval, and mean costs.

    Args:
        runs: One row per run (``store.frame.frame_of``); trials are passed over.
        examples: One row per run and example (``store.frame.examples_of``).
        base: Name of the method that is the untouched base.
        metrics: What else is averaged: over the seeds of a row, or over those of them that share a cost protocol.
        higher_is_better: Direction of the task's score.
        across: Whether to throw all protocols into one, because the user asked for it.

    Returns:
        One quality protocol after another, that of most runs first; in each the base first, then the best score
        first, then rows without one. ``costs`` of a row holds one entry per cost protocol.
    """
    runs = final_runs(runs)
    if runs.empty:
        return []
    runs = _with_protocols(runs, across)
    sign = 1.0 if higher_is_better else -1.0
    rows: list[dict[str, Any]] = []
    for protocol in runs["quality_protocol"].value_counts(sort=True, dropna=False).index:
        same = runs["quality_protocol"].isna() if pd.isna(protocol) else runs["quality_protocol"] == protocol
        rows += _ranked(runs[same], examples, base=base, metrics=metrics, sign=sign)
    return rows


def _with_protocols(runs: pd.DataFrame, across: bool) -> pd.DataFrame:
    """Runs with their protocols; one that ended before it had any belongs to those of most others."""
    columns: dict[str, Any] = {}
    for name in ("quality_protocol", "cost_protocol"):
        known = runs[name].dropna() if name in runs else pd.Series(dtype=object)
        if across or known.empty:
            columns[name] = None
        else:
            columns[name] = runs[name].fillna(known.mode().iloc[0])
    return runs.assign(**columns)


def _ranked(
    runs: pd.DataFrame, examples: pd.DataFrame, *, base: str, metrics: Sequence[MetricSpec], sign: float
) -> list[dict[str, Any]]:
    groups = [group for _, group in runs.groupby(["method", "learning_rate"], sort=False, dropna=False)]
    scores, gains, collapsed = _estimates(groups, examples, base=base, sign=sign)
    rows = [
        {
            **_row(group, scores.get(str(place)), gains.get(str(place)), metrics, base=base),
            "num_collapsed": collapsed.get(str(place), 0),
        }
        for place, group in enumerate(groups)
    ]
    return sorted(
        rows,
        key=lambda r: (
            not r["is_base"],
            r["score"] is None,
            0.0 if r["score"] is None else -sign * r["score"],
        ),
    )


def _estimates(
    groups: Sequence[pd.DataFrame], examples: pd.DataFrame, *, base: str, sign: float
) -> tuple[dict[str, Estimate], dict[str, Estimate], dict[str, int]]:
    """Score, gain and collapsed trainings by place of the group: the verdict's, so that no two pages disagree."""
    rows = pd.concat(groups)
    shares = examples["score"].between(0.0, 1.0).all()
    answers = answers_in(rows, examples, bounded=bool(shares), sign=sign)
    bases = [str(place) for place, group in enumerate(groups) if group["card"].iloc[0] == base]
    trained = trained_in({str(place): group for place, group in enumerate(groups)}, answers, bases, sign=sign)
    if trained is None:
        return {}, {}, {}
    outcomes = trained.outcomes
    crossed = outcomes.whole
    scored = [name for name in bases if name in crossed.names]
    gains = gains_of(crossed, scored[0], sign=sign, level=LEVEL) if scored else {}
    collapsed = dict(zip(crossed.names, map(int, outcomes.collapsed)))
    return dict(zip(crossed.names, mean_intervals(crossed, LEVEL))), gains, collapsed


def _row(
    group: pd.DataFrame, score: Estimate | None, gain: Estimate | None, metrics: Sequence[MetricSpec], *, base: str
) -> dict[str, Any]:
    good = group[group["status"] == "ok"]
    failed = group[group["status"] != "ok"]
    rate = group["learning_rate"].iloc[0]
    return {
        "method": str(group["method"].iloc[0]),
        "card": group["card"].iloc[0],
        "is_base": bool(group["card"].iloc[0] == base),
        "learning_rate": None if pd.isna(rate) else float(rate),
        "quality_protocol": group["quality_protocol"].iloc[0],
        "num_seeds": len(good),
        "failures": [f"{status}: {reason}" for status, reason in zip(failed["status"], failed["reason"])],
        "score": None if score is None else score.value,
        "score_interval": None if score is None else score.interval,
        "gain": None if gain is None else gain.value,
        "gain_interval": None if gain is None else gain.interval,
        **{m.name: _mean(good, m.name) for m in metrics if m.protocol == "quality"},
        "costs": [
            {
                "cost_protocol": None if pd.isna(protocol) else protocol,
                "num_runs": len(same),
                **{m.name: _mean(same, m.name) for m in metrics if m.protocol == "cost"},
            }
            for protocol, same in good.groupby("cost_protocol", sort=False, dropna=False)
        ],
    }


def _mean(runs: pd.DataFrame, name: str) -> float | None:
    values = runs[name].dropna() if name in runs else pd.Series(dtype=float)
    return float(values.mean()) if len(values) else None
