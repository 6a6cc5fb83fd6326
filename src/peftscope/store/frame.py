"""Records -> one tidy pandas frame: one row per run, failures included."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from peftscope.schema.record import RunRecord

__all__ = ["examples_of", "frame_of"]


def frame_of(records: Iterable[RunRecord]) -> pd.DataFrame:
    """One row per run: identity, status and every metric in a column of its own name.

    A missing value is NaN in a metric's column; why it is missing stands in ``missing`` of the record.
    """
    rows = [
        {
            "run_id": r.run_id,
            "method": r.spec.method.title,
            "card": r.spec.method.name,
            "task": r.spec.task.name,
            "model": r.spec.model.source,
            "learning_rate": r.spec.learning_rate,
            "seed": r.spec.seed,
            "purpose": r.spec.purpose,
            "status": r.status,
            "reason": r.reason,
            "num_attempts": len(r.attempts),
            "origin": r.origin,
            "single": r.single,
            "quality_protocol": r.quality_protocol,
            "cost_protocol": r.cost_protocol,
            **r.metrics,
        }
        for r in records
    ]
    return pd.DataFrame(rows)


def examples_of(records: Iterable[RunRecord]) -> pd.DataFrame:
    """One row per run, example and draw: ``run_id``, ``example_id``, ``group``, ``draw``, ``score``, ``truncated``."""
    columns = ["run_id", "example_id", "group", "draw", "score", "truncated"]
    rows = [(r.run_id, e.example_id, e.group, e.draw, e.score, e.truncated) for r in records for e in r.examples]
    return pd.DataFrame(rows, columns=columns)
