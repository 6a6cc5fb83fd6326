"""Records -> one row per run for a spreadsheet."""

from __future__ import annotations

from collections.abc import Collection

from peftscope.schema.record import RunRecord
from peftscope.store.frame import frame_of
from peftscope.store.local_paths import without_local_paths

__all__ = ["csv_of"]

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins like this is run as a formula by a spreadsheet."""


def csv_of(records: Collection[RunRecord]) -> str:
    """CSV with one row per run, failures included; a figure that is missing is an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe in front; of a path there stays the last part.
    """
    frame = frame_of(records)
    # a gap turns a column of counts into floats, and 512 bytes into 512.0
    counted = {n for r in records for n, v in r.metrics.items() if isinstance(v, int)}
    counted -= {n for r in records for n, v in r.metrics.items() if isinstance(v, float)}
    frame = frame.astype(dict.fromkeys(counted, "Int64"))
    for name in frame.columns:
        if not frame[name].map(lambda value: isinstance(value, str)).any():
            continue
        frame[name] = frame[name].map(without_local_paths).map(_harmless)
    return frame.to_csv(index=False, lineterminator="\n")


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
