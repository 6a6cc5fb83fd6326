"""One row per technique and learning rate, over its seeds; failures are shown and counted.

Scores are averaged and set against the base within one quality protocol, times and memory averaged within one
cost protocol: a technique measured under two has two rows, or two entries of cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from peftscope.analysis.estimates import mean_estimate, paired_gain

__all__ = ["COSTS", "FIGURES", "summarise"]

FIGURES = ("num_trainable_params", "checkpoint_bytes", "forgetting", "drift")
"""Metrics averaged over the seeds of a row, beside the score."""

COSTS = (
    "peak_train_memory_bytes",
    "peak_eval_memory_bytes",
    "train_time_s",
    "eval_time_s",
    "total_time_s",
    "decode_latency_adapter_b1_s",
    "decode_latency_merged_b1_s",
)
"""Metrics averaged over those seeds of a row that share a cost protocol."""


def summarise(
    runs: pd.DataFrame,
    examples: pd.DataFrame,
    *,
    base: str,
    higher_is_better: bool = True,
    across: bool = False,
) -> list[dict[str, Any]]:
    """Rows for a table: score and gain over the base (positive is better), each with its interval, and mean costs.

    Args:
        runs: One row per run (``store.frame.frame_of``).
        examples: One row per run and example (``store.frame.examples_of``).
        base: Name of the technique that is the untouched base.
        higher_is_better: Direction of the task's score.
        across: Whether to throw all protocols into one, because the user asked for it.

    Returns:
        One quality protocol after another, that of most runs first; in each the base first, then the best score
        first, then rows without one. ``costs`` of a row holds one entry per cost protocol.
    """
    runs = _with_protocols(runs.drop_duplicates("run_id"), across)  # a run asked for twice is one run
    sign = 1.0 if higher_is_better else -1.0
    by_example = _scores(examples)
    rows: list[dict[str, Any]] = []
    for protocol in runs["quality_protocol"].value_counts(sort=True, dropna=False).index:
        same = runs["quality_protocol"].isna() if pd.isna(protocol) else runs["quality_protocol"] == protocol
        rows += _ranked(runs[same], by_example, base=base, sign=sign)
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
    runs: pd.DataFrame, by_example: Mapping[str, pd.Series[float]], *, base: str, sign: float
) -> list[dict[str, Any]]:
    base_ids = runs.loc[(runs["technique"] == base) & (runs["status"] == "ok"), "run_id"]
    reference = by_example.get(base_ids.iloc[0]) if len(base_ids) else None
    rows = [
        _row(str(method), rate, group, by_example, reference, is_base=group["technique"].iloc[0] == base, sign=sign)
        for (method, rate), group in runs.groupby(["method", "learning_rate"], sort=False, dropna=False)
    ]
    return sorted(
        rows,
        key=lambda r: (
            not r["is_base"],
            r["score"] is None,
            0.0 if r["score"] is None else -sign * r["score"],
        ),
    )


def _scores(examples: pd.DataFrame) -> dict[str, pd.Series[float]]:
    """Run id -> mean score over draws, by example id."""
    if examples.empty:
        return {}
    means = examples.groupby(["run_id", "example_id"], sort=True)["score"].mean()
    return {str(run_id): scores.droplevel(0) for run_id, scores in means.groupby(level=0)}


def _row(
    method: str,
    rate: Any,
    group: pd.DataFrame,
    by_example: Mapping[str, pd.Series[float]],
    reference: pd.Series[float] | None,
    *,
    is_base: bool,
    sign: float,
) -> dict[str, Any]:
    good = group[group["status"] == "ok"]
    failed = group[group["status"] != "ok"]
    row: dict[str, Any] = {
        "method": method,
        "technique": group["technique"].iloc[0],
        "is_base": bool(is_base),
        "learning_rate": None if pd.isna(rate) else float(rate),
        "quality_protocol": group["quality_protocol"].iloc[0],
        "num_seeds": len(good),
        "failures": [f"{status}: {reason}" for status, reason in zip(failed["status"], failed["reason"])],
        "score": None,
        "score_interval": None,
        "gain": None,
        "gain_interval": None,
        **{name: _mean(good, name) for name in FIGURES},
        "costs": [
            {
                "cost_protocol": None if pd.isna(protocol) else protocol,
                "num_runs": len(same),
                **{name: _mean(same, name) for name in COSTS},
            }
            for protocol, same in good.groupby("cost_protocol", sort=False, dropna=False)
        ],
    }
    scored = [by_example[run_id] for run_id in good["run_id"] if run_id in by_example]
    if scored:
        scores = pd.concat(scored, axis=1).mean(axis=1)
        estimate = mean_estimate(np.asarray(scores, np.float64))
        row |= {"score": estimate.value, "score_interval": estimate.interval}
        if reference is not None and not is_base and scores.index.isin(reference.index).all():
            gain = paired_gain(sign * np.asarray(scores, np.float64), sign * np.asarray(reference.loc[scores.index]))
            row |= {"gain": gain.value, "gain_interval": gain.interval}
    return row


def _mean(runs: pd.DataFrame, name: str) -> float | None:
    values = runs[name].dropna() if name in runs else pd.Series(dtype=float)
    return float(values.mean()) if len(values) else None
