"""What parts make of figures: errors of predictions, units, the time of a step."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from peftscope.schema.record import RunRecord

from .desk import Notes

__all__ = ["error", "note_errors", "scaled", "step_time"]

TOLERANCE = 0.05
"""Of predicted peaks."""
SEGMENTS_BYTES = 2 * 2**21
"""By which a reserved peak may be off besides: allocators reserve 2 MiB at a time, which small models feel."""
WARM_STEPS = 3
"""Steps left out of throughput: kernels are loaded and the cache is filled in them."""


def error(predicted: int | None, found: float | None) -> float | None:
    """How far a prediction is off, as a share of what was found."""
    return predicted / found - 1 if predicted and found else None


def note_errors(notes: Notes, run: str, errors: Mapping[str, float | None], reserved: float | None) -> None:
    """Note predictions that are too far off as problems.

    Args:
        notes: Of the part.
        run: What was predicted.
        errors: As ``error`` gives them, of ``allocated`` and ``reserved`` bytes.
        reserved: Bytes that were found to be reserved.
    """
    tolerances = {"allocated": TOLERANCE, "reserved": TOLERANCE + (SEGMENTS_BYTES / reserved if reserved else 0.0)}
    for what, off in errors.items():
        notes.check(off is None or abs(off) <= tolerances[what], f"{run}: {what} is predicted {off or 0:+.1%} off")


def scaled(value: float | None, unit: float) -> float | None:
    """A value in a unit."""
    return None if value is None else value / unit


def step_time(record: RunRecord) -> float | None:
    """Median seconds of the steps that are not the first."""
    times = [point.train_time_s for point in record.curve]
    steps = [after - before for before, after in pairwise(times)]
    steps = steps[WARM_STEPS - 1 :] or steps
    return float(np.median(steps)) if steps else None
