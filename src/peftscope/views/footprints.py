"""Forecasts of what methods take, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from peftscope.views.fitted_table import FittedTable
from peftscope.views.table import TextTable
from peftscope.views.units import bytes_text, count_text

if TYPE_CHECKING:
    from peftscope.footprint.footprint import Footprint, Forecast

__all__ = ["footprint_table"]

PEAKS = {True: ("train proc.", "eval proc."), False: ("train res.", "eval res.")}
"""Headings of the peaks by whether the device is the CPU: what the process holds, what an allocator reserves."""
DETAILS = ("activations", "outputs", "TFLOP/step")


def footprint_table(
    found: Sequence[Forecast],
    *,
    device: str,
    limit: float | None = None,
    tflops: float | None = None,
    brief: bool = False,
) -> FittedTable:
    """A row for every forecast that has figures.

    Args:
        found: The forecasts, in the order they are to be shown.
        device: Kind of device they are for; it decides what memory is meant.
        limit: Bytes they were held against.
        tflops: Rate of the device, for a column of times.
        brief: Leave out what the memory is made of and the work.
    """
    columns = ("trained", "file", *PEAKS[device == "cpu"], *(() if brief else DETAILS))
    columns = columns if brief or tflops is None else (*columns, "s/step")
    fits = () if limit is None else (f"fits {bytes_text(limit)}",)
    cells = [
        [*_cells(each.footprint, tflops)[: 1 + len(columns)], *(() if limit is None else (_verdict(each, limit),))]
        for each in found
        if each.footprint.peak_bytes is not None
    ]
    table = TextTable(title="", headings=("method", *columns, *fits), cells=cells, sentences=fits)
    return FittedTable(table, rule=False)


def _cells(found: Footprint, tflops: float | None) -> list[str]:
    parts, seconds = found.breakdown, found.step_time_s(tflops)
    return [
        found.experiment or found.method,
        count_text(found.num_trainable_params),
        bytes_text(found.checkpoint_bytes),
        bytes_text(found.peak_train_bytes),
        bytes_text(found.peak_eval_bytes),
        bytes_text(parts.activations if parts else None),
        bytes_text(parts.outputs if parts else None),
        "–" if found.flops_per_step is None else f"{found.flops_per_step / 1e12:.3g}",
        "–" if seconds is None else f"{seconds:.3g}",
    ]


def _verdict(forecast: Forecast, limit: float) -> str:
    if forecast.fits is not False:
        return "yes" if forecast.fits else "–"
    ways = []
    if forecast.largest_batch:
        ways.append(f"batch {forecast.largest_batch}")
    if forecast.largest_length:
        ways.append(f"length {forecast.largest_length}")
    if forecast.fits_with is not None:  # with checkpointing it may fit, too, but slower
        return f"no; with {' or '.join([*ways, f'memory: {forecast.fits_with}'])}"
    others = {
        "checkpointing": forecast.checkpointed_bytes,
        "nf4": forecast.nf4_bytes,
        "checkpointing and nf4": forecast.both_bytes,
    }
    ways += [name for name, peak in others.items() if peak is not None and peak <= limit]
    if not ways and forecast.both_batch:
        ways = [f"batch {forecast.both_batch}, checkpointing and nf4"]
    return f"no; with {' or '.join(ways)}" if ways else "no"
