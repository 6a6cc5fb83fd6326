"""What has to fit into a line: names, times, scores, a curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.cells import cell_len, set_cell_size

from peftscope.schema.metric import MetricSpec

__all__ = ["one_line", "printable", "score_text", "shorten", "span_text", "sparkline", "value_text"]

BLOCKS = "▁▂▃▄▅▆▇█"


def printable(text: str) -> str:
    """The text with what could break a line or drive a terminal made spaces, none taken away."""
    return "".join(c if c.isprintable() else " " for c in text)


def one_line(text: str) -> str:
    """The text with what could break a line or drive a terminal made spaces; names and reasons are others' words.

    >>> one_line("two\\nlines \\x1b[31m")
    'two lines  [31m'
    """
    return printable(text).strip()


def shorten(text: str, width: int) -> str:
    """The text in at most ``width`` terminal cells, cut in the middle: what tells names apart often stands last.

    >>> shorten("a-long-name-of-mine lr 0.0003 seed 0", 24)
    'a-long-name-of-m… seed 0'
    """
    if cell_len(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    tail_width = (width - 1) // 2
    start = len(text)
    while start and cell_len(text[start - 1 :]) <= tail_width:
        start -= 1
    if not text[start - 1].isspace() and " " in text[start:]:  # half a number would be another number
        start += text[start:].index(" ")
    head = set_cell_size(text, width - 1 - cell_len(text[start:])).rstrip()
    return f"{head}…{text[start:]}"


def span_text(seconds: float) -> str:
    """A time as one would say it.

    >>> span_text(0.2), span_text(75), span_text(720), span_text(11_100), span_text(200_000)
    ('under 1 s', '75 s', '12 min', '3 h 05 min', '2 d 8 h')
    """
    if seconds < 1:
        return "under 1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def score_text(score: float, metric: MetricSpec | None) -> str:
    """A score with its metric's name and unit, as far as they are known.

    >>> score_text(0.48, MetricSpec(name="accuracy", unit="share", direction="higher", window=""))
    'accuracy 48.0 %'
    >>> score_text(0.48, None)
    'score 0.480'
    """
    return f"{metric.name.replace('_', ' ') if metric else 'score'} {value_text(score, metric)}"


def value_text(score: float, metric: MetricSpec | None) -> str:
    """A score alone."""
    return f"{score * 100:.1f} %" if metric is not None and metric.unit == "share" else f"{score:.3f}"


def sparkline(values: Sequence[float], *, width: int = 40) -> str:
    """A curve as a row of blocks, from the lowest of its values to the highest; gaps where one is no number.

    >>> sparkline([3, 2, 1, 1])
    '█▅▁▁'
    """
    if len(values) > width:  # the mean of each stretch
        edges = [round(i * len(values) / width) for i in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    step = (high - low) / (len(BLOCKS) - 1) or 1.0
    return "".join(BLOCKS[round((v - low) / step)] if math.isfinite(v) else " " for v in values)
