"""What parts make of figures: errors of predictions, units, the time of a step."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from peftscope.schema.record import RunRecord

from .desk import Notes

__all__ = ["note_peaks", "scaled", "step_time"]

TOLERANCE = 0.05
"""Of predicted peaks."""
SEGMENTS_BYTES = 2 * 2**21
"""By which a reserved peak may be off besides: allocators reserve 2 MiB at a time, which small models feel."""
WARM_STEPS = 3
"""Steps left out of throughput: kernels are loaded and the cache is filled in them."""


def note_peaks(
    notes: Notes,
    run: str,
    predicted: Mapping[str, int | None],
    found: Mapping[str, float | None],
    others: Mapping[str, float | None],
) -> None:
    """Add a line with peaks beside their predictions, and note those that are too far off as problems.

    Args:
        notes: Of the part.
        run: What was predicted.
        predicted: Bytes, ``allocated`` and ``reserved``.
        found: The same as measured.
        others: The line's other figures.
    """
    errors = {what: _error(predicted[what], found[what]) for what in ("allocated", "reserved")}
    notes.add(
        {
            "run": run,
            "allocated MB": scaled(found["allocated"], 1e6),
            "predicted off %": scaled(errors["allocated"], 0.01),
            "reserved MB": scaled(found["reserved"], 1e6),
            "predicted off by %": scaled(errors["reserved"], 0.01),
            **others,
        }
    )
    reserved = found["reserved"]
    tolerances = {"allocated": TOLERANCE, "reserved": TOLERANCE + (SEGMENTS_BYTES / reserved if reserved else 0.0)}
    for what, off in errors.items():
        notes.check(off is None or abs(off) <= tolerances[what], f"{run}: {what} is predicted {off or 0:+.1%} off")


def _error(predicted: int | None, found: float | None) -> float | None:
    """How far a prediction is off, as a share of what was found."""
    return predicted / found - 1 if predicted and found else None


def scaled(value: float | None, unit: float) -> float | None:
    """A value in a unit."""
    return None if value is None else value / unit


def step_time(record: RunRecord) -> float | None:
    """Median seconds of the steps that are not the first."""
    times = [point.train_time_s for point in record.curve]
    steps = [after - before for before, after in pairwise(times)]
    steps = steps[WARM_STEPS - 1 :] or steps
    return float(np.median(steps)) if steps else None
