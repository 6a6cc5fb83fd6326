"""The page's tables as plain data: headings, and cells with what they sort by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from peftscope.analysis.verdict import Candidate, Pair, PairVerdict, Verdict
from peftscope.schema.metric import MetricSpec
from peftscope.views.eliminated import eliminated_lines
from peftscope.views.report.fronts import is_single
from peftscope.views.report.quantities import Axis, difference_text, more_seeds_text, range_text, reading
from peftscope.views.units import DASH, metric_text, rate_text

__all__ = ["VERDICTS", "cell", "figure_table", "pair_matrix", "pair_sentence", "pair_table", "score_table"]

VERDICTS: Mapping[PairVerdict, str] = {"better": "▲", "worse": "▼", "equivalent": "=", "undecided": "?"}
"""Verdict -> its sign; colour alone would say nothing to some readers."""

WORDS: Mapping[PairVerdict, str] = {
    "better": "{} is better than {}",
    "worse": "{} is worse than {}",
    "equivalent": "{} is equivalent to {}",
    "undecided": "{} against {} is undecided",
}

Table = dict[str, Any]


def cell(text: str, sort: float | str | None = None, **more: Any) -> dict[str, Any]:
    """A cell: its text, and what it sorts by where that is not the text."""
    return {"text": text, "sort": sort, **more}


def score_table(verdict: Verdict) -> Table:
    """Method, tier, learning rate, seeds, score and gain; methods without a score last, with why."""
    return {
        "headings": [
            cell("method"), cell("tier"), cell("lr"), cell("seeds"),
            cell(verdict.metric.title, window=verdict.metric.window),
            cell("gain over base"), cell("failed", window="final runs that failed"),
        ],
        "rows": [_score_row(c, verdict) for c in verdict.candidates],
    }  # fmt: skip


def _score_row(c: Candidate, verdict: Verdict) -> list[dict[str, Any]]:
    metric = verdict.metric
    read = reading(c, metric, score=metric)
    gain = DASH if c.gain is None else difference_text(metric, c.gain)
    seeds = DASH if c.is_base else f"{c.num_seeds}{' (single run)' if is_single(c) and read else ''}"
    seeds += "" if c.eliminated is None else " (eliminated)"
    why = None if c.eliminated is None else eliminated_lines([c.eliminated])[0]
    return [
        cell(c.method, method=c.method),
        cell(DASH if c.tier is None else str(c.tier), c.tier),
        cell(rate_text(c.learning_rate), c.learning_rate),
        cell(seeds, c.num_seeds, title=why) if why else cell(seeds, c.num_seeds),
        cell(read.text if read else "no score", read.value if read else None, title=read.spread if read else None),
        cell(gain, c.gain.value if c.gain else None),
        _failures_cell(c),
    ]


def figure_table(verdict: Verdict, metrics: Sequence[MetricSpec], axes: Mapping[str, Axis]) -> Table:
    """Some metrics beside the score, a column each; the range over the seeds in the cell's title."""
    shown = [m for m in metrics if m.name != verdict.metric.name and m.name in axes]
    rows = []
    for c in verdict.candidates:
        row = [cell(c.method, method=c.method)]
        for metric in (verdict.metric, *shown):
            read = reading(c, metric, score=verdict.metric)
            if read is None:
                row.append(cell(DASH))
                continue
            ends = range_text(metric, read, score=verdict.metric)
            title = f"{read.spread}: {ends}" if ends else read.spread
            row.append(cell(metric_text(metric, read.value), read.value, title=title))
        rows.append(row)
    score = cell(verdict.metric.title, window=verdict.metric.window, direction=verdict.metric.direction)
    headings = [cell(axes[m.name].label, window=m.window, direction=m.direction) for m in shown]
    return {"headings": [cell("method"), score, *headings], "rows": rows}


def _failures_cell(candidate: Candidate) -> dict[str, Any]:
    """How many final runs failed, and how many ended far below the best of their method."""
    count = len(candidate.failures)
    text = str(count) if count else DASH
    reasons = list(map(str, candidate.failures))
    if candidate.num_collapsed:
        text += f" + {candidate.num_collapsed} collapsed"
        reasons.append(f"{candidate.num_collapsed} trainings ended far below the best one")
    return cell(text, count + candidate.num_collapsed, title="; ".join(reasons) or None)


def _more_cell(pair: Pair) -> dict[str, Any]:
    more = pair.more_seeds
    return cell(DASH) if more is None else cell(f"{more.seeds} ({more.shows})", more.seeds)


def pair_sentence(pair: Pair, verdict: Verdict) -> str:
    """One pair in a sentence: difference, interval, how sure."""
    words = WORDS[pair.verdict].format(pair.first, pair.second)
    parts = [f"{words}: {difference_text(verdict.metric, pair.difference)}"]
    if pair.p_adjusted is not None:
        parts.append(f"p {_p_text(pair.p_adjusted)} over all pairs")
    if pair.by_steady:
        parts.append("by the trainings that went right, of which the better one has no fewer")
    if pair.superiority is not None:
        parts.append(f"a new training of it scores higher with probability {pair.superiority:.2f}")
    if pair.more_seeds is not None:
        parts.append(more_seeds_text(pair))
    return "; ".join(parts)


def pair_matrix(verdict: Verdict) -> Table | None:
    """Row against column, for all methods of some pair; None where there is no pair."""
    paired = {name for pair in verdict.pairs for name in (pair.first, pair.second)}
    scored = [c for c in verdict.candidates if c.method in paired and c.score is not None]
    sign = -1.0 if verdict.metric.direction == "lower" else 1.0
    names = [c.method for c in sorted(scored, key=lambda c: -sign * (c.score.value if c.score else 0.0))]
    if not names:
        return None
    known = {(pair.first, pair.second) for pair in verdict.pairs}
    rows = []
    for row in names:
        cells = []
        for column in names:
            there = (row, column) in known or (column, row) in known
            pair = verdict.pair(row, column) if there else None
            text = pair_sentence(pair, verdict) if pair else ("" if row == column else "not compared")
            word = pair.verdict if pair else ("same" if row == column else "none")
            cells.append({"verdict": word, "sign": VERDICTS[pair.verdict] if pair else "", "text": text})
        rows.append({"method": row, "cells": cells})
    return {"names": names, "rows": rows}


def pair_table(verdict: Verdict) -> Table:
    """The same pairs, one a row."""
    metric = verdict.metric
    rows = []
    for pair in verdict.pairs:
        rows.append(
            [
                cell(pair.first, method=pair.first),
                cell(f"{VERDICTS[pair.verdict]} {pair.verdict}"),
                cell(pair.second, method=pair.second),
                cell(difference_text(metric, pair.difference), pair.difference.value),
                cell(_p_text(pair.p_adjusted), pair.p_adjusted),
                cell(_p_text(pair.p_equivalent), pair.p_equivalent),
                cell(DASH if pair.superiority is None else f"{pair.superiority:.2f}", pair.superiority),
                _more_cell(pair),
            ]
        )  # fmt: skip
    headings = [
        cell("first"), cell("verdict"), cell("second"), cell("difference"),
        cell("p (all pairs)", window="of no difference, corrected over all pairs"),
        cell("p (equivalent)", window="of a difference as large as the margin, after Holm's correction"),
        cell("P(higher)", window="probability that a new training of the first scores higher"),
        cell("more seeds", window="of each, about, would likely decide it, and how"),
    ]  # fmt: skip
    return {"headings": headings, "rows": rows}


def _p_text(value: float | None) -> str:
    return DASH if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
