"""All runs of a folder as one document: what the explorer filters, draws and groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from peftscope.schema.metric import MetricSpec
from peftscope.store.rows import Row
from peftscope.views.report.fronts import axis_data
from peftscope.views.report.identity import marks_of
from peftscope.views.report.quantities import axis_of

__all__ = ["runs_data"]

FILTERS = {
    "method": "method",
    "task": "task",
    "model": "base model",
    "conditions": "conditions",
    "version": "software",
    "purpose": "purpose",
    "status": "status",
}
OF_SCORE = {"test_score": "on test", "valid_score": "on validation"}
MOST_VALUES = 200
"""Different values of a setting from which on there is no group worth making."""


def runs_data(
    rows: Sequence[Row],
    specs: Mapping[str, MetricSpec],
    *,
    about: Mapping[str, str],
    base: str,
    score: MetricSpec | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Rows with their figures, axes, what can be filtered and grouped by.

    Args:
        rows: Of the folder.
        specs: What figures are, by their names; others are left out.
        about: The study's ``name``, its ``place`` for commands, and the ``state`` of its folder as it was read.
        base: Name of the card of the untouched base.
        score: What scores are, where the rows do not say.
        notes: What was left out of the folder.
    """
    score = _common_score(rows) or score
    known = _with_score(score, specs)
    values: dict[str, list[float]] = {}
    for row in rows:
        for metric, value in row.metrics.items():
            if metric in known and math.isfinite(value):
                values.setdefault(metric, []).append(value)
    shown = [metric for metric in known if metric in values]
    varying, constant = _settings(rows)
    bases = {row.method for row in rows if row.card == base}
    marks = marks_of(bases, dict.fromkeys(row.method for row in rows))
    return {
        **about,
        "score": None if score is None else score.name,
        "axes": {metric: axis_data(axis_of(known[metric], values[metric])) for metric in shown},
        "filters": [{"name": key, "label": label} for key, label in FILTERS.items()],
        "settings": varying,
        "constant": constant,
        "marks": {method: {"color": mark.color, "symbol": mark.symbol} for method, mark in marks.items()},
        "rows": [
            _row(row, set(shown), varying)
            for row in sorted(rows, key=lambda r: (r.purpose, r.method, r.learning_rate or 0.0, r.seed))
        ],
        "notes": list(notes),
    }


def _row(row: Row, shown: set[str], varying: Sequence[str]) -> dict[str, Any]:
    return {
        "id": row.run_id,
        "method": row.method,
        "purpose": row.purpose,
        "status": row.status,
        "learning_rate": row.learning_rate,
        "seed": row.seed,
        "task": row.task,
        "model": row.model,
        "conditions": row.conditions,
        "version": row.version,
        "settings": {key: row.settings[key] for key in varying if key in row.settings},
        "metrics": {k: v for k, v in row.metrics.items() if k in shown and math.isfinite(v)},
    }


def _common_score(rows: Sequence[Row]) -> MetricSpec | None:
    """The metric that all scores are of; None where there are none, or of several."""
    found = {own.name: own for row in rows if "test_score" in row.metrics and (own := _score(row)) is not None}
    return next(iter(found.values())) if len(found) == 1 else None


def _with_score(score: MetricSpec | None, specs: Mapping[str, MetricSpec]) -> dict[str, MetricSpec]:
    """The specs, the score's first and under the name of the task's metric; those with a better side before others."""
    found: dict[str, MetricSpec] = {}
    for name, words in OF_SCORE.items():
        spec = score or specs.get(name)
        if spec is not None:
            title = spec.title.replace("_", " ")
            found[name] = spec.model_copy(update={"name": name, "label": f"{title} {words}" if score else title})
    rest = sorted(
        (spec for name, spec in specs.items() if name not in OF_SCORE), key=lambda s: s.direction == "neutral"
    )
    return {**found, **{spec.name: spec for spec in rest}}


def _score(row: Row) -> MetricSpec | None:
    try:
        return MetricSpec.model_validate(row.score) if row.score is not None else None
    except ValidationError:
        return None


def _settings(rows: Sequence[Row]) -> tuple[list[str], list[tuple[str, str]]]:
    """Settings in which runs differ, and those they share."""
    values: dict[str, dict[str | None, None]] = {}
    for row in rows:
        for key, value in row.settings.items():
            values.setdefault(key, {})[value] = None
    counts = {key: sum(key in row.settings for row in rows) for key in values}
    constant = [(k, str(next(iter(v)))) for k, v in values.items() if len(v) == 1 and counts[k] == len(rows)]
    shared = {key for key, _ in constant}
    return [key for key, found in values.items() if key not in shared and len(found) <= MOST_VALUES], constant
