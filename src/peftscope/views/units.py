"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from peftscope.schema.metric import MetricSpec

__all__ = [
    "DASH",
    "bracket_text",
    "bytes_text",
    "count_text",
    "interval_text",
    "loss_text",
    "metric_text",
    "rate_text",
    "seconds_text",
]

DASH = "–"


def bytes_text(value: float | None) -> str:
    """Bytes in decimal units.

    >>> bytes_text(37_800_000)
    '37.8 MB'
    """
    return _scaled(value, ((1e9, " GB"), (1e6, " MB"), (1e3, " kB")), " B")


def count_text(value: float | None) -> str:
    """A count in millions or thousands.

    >>> count_text(9_175_040)
    '9.18 M'
    """
    return _scaled(value, ((1e9, " B"), (1e6, " M"), (1e3, " k")), "")


def seconds_text(value: float | None) -> str:
    """Seconds, with milliseconds below one.

    >>> seconds_text(0.0123), seconds_text(75.2)
    ('12.3 ms', '75.2 s')
    """
    if value is None:
        return DASH
    return f"{value * 1e3:.3g} ms" if value < 0.9995 else f"{value:.1f} s" if value < 600 else f"{value / 60:.1f} min"


def bracket_text(edge: str | None, bracket: tuple[float | None, float | None]) -> str:
    """How sure a tuned learning rate's place is; empty where nothing is known of it.

    >>> bracket_text(None, (1e-4, 3.2e-4))
    'bracketed by 1e-04 and 3.2e-04'
    >>> bracket_text("highest", (1e-4, None))
    'NOT bracketed: a higher one may be better'
    """
    if edge is not None:
        side = {"lowest": "a lower", "highest": "a higher"}.get(edge, "another")
        return f"NOT bracketed: {side} one may be better"
    lower, higher = bracket
    return "" if lower is None or higher is None else f"bracketed by {rate_text(lower)} and {rate_text(higher)}"


def metric_text(metric: MetricSpec, value: float | None, *, signed: bool = False) -> str:
    """A value as one would read it, with its unit.

    >>> metric_text(MetricSpec(name="accuracy", unit="share", direction="higher", window=""), 0.0525, signed=True)
    '+5.2 %'
    """
    signed = signed or metric.signed
    if value is None or not math.isfinite(value):
        return DASH
    if metric.unit == "share":
        percent = round(value * 100, 1) + 0.0  # no sign before a zero
        return f"{percent:{'+' if signed and percent else ''}.1f} %"
    if metric.unit == "s":
        return seconds_text(value)
    if metric.unit == "bytes":
        return bytes_text(value)
    if metric.unit == "count":
        return count_text(value)
    if metric.unit.startswith(("nats", "cosine")) or metric.unit == "task":
        return loss_text(value, signed=signed)
    digits = ",.0f" if abs(value) >= 1000 else ".4g"
    return f"{value:{'+' if signed else ''}{digits}} {metric.unit.removeprefix('task ')}".strip()


def rate_text(value: float | None) -> str:
    """A learning rate.

    >>> rate_text(0.0001)
    '1e-04'
    """
    return (
        DASH
        if value is None
        else f"{value:.3g}"
        if value >= 0.01
        else f"{value:.0e}"
        if _round(value)
        else f"{value:.1e}"
    )


def loss_text(value: float | None, *, signed: bool = False) -> str:
    """A loss or a cosine, or a difference of two.

    >>> loss_text(0.25, signed=True)
    '+0.250'
    >>> loss_text(-0.00001, signed=True)
    '0.000'
    """
    if value is None:
        return DASH
    rounded = round(value, 3) + 0.0  # no minus before a zero
    return f"{rounded:{'+' if signed and rounded else ''}.3f}"


def interval_text(value: float | None, interval: Sequence[float] | None, *, percent: bool, signed: bool = False) -> str:
    """A value with its 95 % interval.

    >>> interval_text(0.4, [0.31, 0.5], percent=True)
    '40.0 [31.0, 50.0]'
    """
    if value is None:
        return DASH
    factor, digits, sign = (100.0, 1, "+" if signed else "") if percent else (1.0, 3, "+" if signed else "")
    text = f"{value * factor:{sign}.{digits}f}"
    if interval is None:
        return text
    low, high = (f"{x * factor:.{digits}f}" for x in interval)
    return f"{text} [{low}, {high}]"


def _round(value: float) -> bool:
    mantissa = float(f"{value:e}".split("e")[0])
    return abs(mantissa - round(mantissa)) < 1e-9


def _scaled(value: float | None, steps: tuple[tuple[float, str], ...], plain: str) -> str:
    if value is None:
        return DASH
    for factor, suffix in steps:
        # 999,600 bytes would read "1e+03 kB": what rounds to a thousand goes by the larger unit
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.0f}{plain}"
