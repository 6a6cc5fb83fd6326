"""One row per technique and learning rate, over its seeds; failures are shown and counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from peftscope.analysis.estimates import mean_estimate, paired_gain

__all__ = ["COSTS", "summarise"]

COSTS = (
    "num_trainable_params",
    "peak_train_memory_bytes",
    "peak_eval_memory_bytes",
    "train_time_s",
    "eval_time_s",
    "total_time_s",
    "checkpoint_bytes",
    "forgetting",
    "drift",
    "decode_latency_adapter_b1_s",
    "decode_latency_merged_b1_s",
)
"""Metrics averaged over the seeds of a row."""


def summarise(
    runs: pd.DataFrame, examples: pd.DataFrame, *, base: str, higher_is_better: bool = True
) -> list[dict[str, Any]]:
    """Rows for a table: score and gain over the base (positive is better), each with its interval, and mean costs.

    Args:
        runs: One row per run (``store.frame.frame_of``).
        examples: One row per run and example (``store.frame.examples_of``).
        base: Name of the technique that is the untouched base.
        higher_is_better: Direction of the task's score.

    Returns:
        The base first, then the best score first, then rows without one.
    """
    runs = runs.drop_duplicates("run_id")  # a run asked for twice is one run
    sign = 1.0 if higher_is_better else -1.0
    by_example = _scores(examples)
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
        "num_seeds": len(good),
        "failures": [f"{status}: {reason}" for status, reason in zip(failed["status"], failed["reason"])],
        "score": None,
        "score_interval": None,
        "gain": None,
        "gain_interval": None,
    }
    for name in COSTS:
        values = good[name].dropna() if name in good else pd.Series(dtype=float)
        row[name] = float(values.mean()) if len(values) else None
    if len(good):
        scores = pd.concat([by_example[run_id] for run_id in good["run_id"]], axis=1).mean(axis=1)
        estimate = mean_estimate(np.asarray(scores, np.float64))
        row |= {"score": estimate.value, "score_interval": estimate.interval}
        if reference is not None and not is_base:
            gain = paired_gain(sign * np.asarray(scores, np.float64), sign * np.asarray(reference.loc[scores.index]))
            row |= {"gain": gain.value, "gain_interval": gain.interval}
    return row
