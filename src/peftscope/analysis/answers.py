"""Scores of runs on the same test examples: what is missing is charged and bounded, groups are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from peftscope.analysis.clusters import codes_of

__all__ = ["Answers", "answers_in"]

COMPLETE = 0.9
"""Share of the test examples a run must have answered to be counted."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Scores on the examples that the runs of a study were asked."""

    by_run: Mapping[str, pd.Series[float]] = field(default_factory=dict)
    """Run id -> score per example, mean over draws, all on the same examples in the same order."""
    groups: Ints | None = None
    """Number of each example's group; None where every example stands for itself."""
    notes: tuple[str, ...] = ()
    """What was left out or charged."""


def answers_in(runs: pd.DataFrame, examples: pd.DataFrame, *, bounded: bool, sign: float) -> Answers:
    """Scores of the runs that ended.

    A run that answered less than nine tenths of what others answered is left out. What a counted run did not answer
    is charged with the worst there can be: 0 of a share, else the worst score that any run has there. So a method gains
    nothing by failing on hard examples; the notes say how far its score could be off at most.

    Args:
        runs: One row per run, with ``run_id``, ``method`` and ``status``.
        examples: One row per run, example and draw, with a ``group`` where examples are related.
        bounded: Scores are shares, from 0 to 1.
        sign: 1 where more is better, -1 where less is.
    """
    wanted = runs.loc[runs["status"] == "ok", "run_id"]
    known = examples[examples["run_id"].isin(wanted)]
    if known.empty:
        return Answers()
    table = known.pivot_table(index="run_id", columns="example_id", values="score", aggfunc="mean", sort=True)
    share = table.notna().mean(axis=1)
    kept = table[share >= COMPLETE].dropna(axis="columns", how="all")
    notes = [f"run {name} is left out: {1 - part:.0%} of the examples are missing"
             for name, part in share.items() if part < COMPLETE]  # fmt: skip
    if kept.empty:
        return Answers(notes=(*notes, "no run answered nine tenths of the test examples"))
    titles = dict(zip(runs["run_id"].astype(str), runs["method"].astype(str)))
    notes += _charges(kept, titles, bounded=bounded, sign=sign)
    worst = pd.Series(0.0, index=kept.columns) if bounded and sign > 0 else kept.max() if sign < 0 else kept.min()
    full = kept.fillna(worst) if kept.isna().any(axis=None) else kept  # column by column, which takes seconds
    groups = None
    if "group" in known:
        labels = known.drop_duplicates("example_id").set_index("example_id")["group"].reindex(full.columns)
        groups = codes_of([None if pd.isna(label) else str(label) for label in labels])
    return Answers(by_run={str(i): row for i, row in full.iterrows()}, groups=groups, notes=tuple(notes))


def _charges(table: pd.DataFrame, titles: Mapping[str, str], *, bounded: bool, sign: float) -> list[str]:
    """One line for each method of which answers are missing."""
    missing = table.isna().mean(axis=1)
    notes = []
    for method in dict.fromkeys(titles.values()):
        own = [name for name in table.index if titles.get(str(name)) == method]
        part = float(missing[own].mean()) if own else 0.0
        if part == 0.0:
            continue
        note = f"{method}: {part:.1%} of its answers are missing"
        if bounded:
            charged = "each counts as 0" if sign > 0 else "each counts as the worst of the others'"
            notes.append(f"{note}, {charged}: had all been right, its score would be {100 * part:.1f} points higher")
        else:
            notes.append(f"{note}, each counts as the worst score that another has there")
    return notes
