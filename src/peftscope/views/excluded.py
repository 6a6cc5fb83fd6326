"""What limits left out, and why; what comes nearest to them."""

from __future__ import annotations

import math

from peftscope.analysis.within_limits import SCORE, Breach, Excluded
from peftscope.methods.needs import NEEDS
from peftscope.views.phrasing import Phrasing
from peftscope.views.report.content import Topic

__all__ = ["excluded_topic", "nearest_line"]

MOST_EXCLUDED = 10


def excluded_topic(phrasing: Phrasing) -> Topic | None:
    """Every method the limits left out, and why; None where they left out none."""
    excluded = [e for e in phrasing.found.excluded if not phrasing.verdict.candidate(e.method).is_base]
    if not excluded:
        return None
    rows = [("method", "score", "why")]
    for e in excluded[:MOST_EXCLUDED]:
        score = phrasing.verdict.candidate(e.method).score
        assert score is not None
        rows.append(
            (e.method, phrasing.amount(SCORE, score.value), "; ".join(_breach(phrasing, b) for b in e.breaches))
        )
    more = len(excluded) - MOST_EXCLUDED
    lines = [f"and {more} more, none of which scores higher"] if more > 0 else []
    return Topic(title=f"What the limits left out: {len(excluded)} ({_limits(phrasing)})", lines=lines, rows=rows)


def _limits(phrasing: Phrasing) -> str:
    limits = phrasing.found.limits
    parts = [f"{phrasing.label(name)} ≤ {phrasing.bound(name, value)}" for name, value in limits.costs.items()]
    if limits.score is not None:
        sign = "≤" if phrasing.verdict.metric.direction == "lower" else "≥"
        parts.append(f"{phrasing.label(SCORE)} {sign} {phrasing.bound(SCORE, limits.score)}")
    return ", ".join([*parts, *(f"able to {NEEDS[name].label}" for name in limits.needs)])


def _breach(phrasing: Phrasing, breach: Breach) -> str:
    if breach.limit in NEEDS:
        return NEEDS[breach.limit].lacks
    label = phrasing.label(breach.limit)
    if breach.value is None or breach.bound is None:
        setting = phrasing.setting(breach.limit)
        return f"{label} not measured" + (f" ({setting} measures it)" if setting else "")
    value = phrasing.amount(breach.limit, breach.value)
    beyond = phrasing.amount(breach.limit, abs(breach.value - breach.bound))
    if breach.limit == SCORE and phrasing.verdict.metric.unit == "share":
        beyond = beyond.replace(" %", " points")
    way = "over" if breach.value > breach.bound else "short"
    return f"{label} {value}, {beyond} {way}"


def nearest_line(phrasing: Phrasing) -> str:
    """Of what the limits left out, that which breaks the fewest, then by the least, and of equals scores best."""
    excluded = [e for e in phrasing.found.excluded if not phrasing.verdict.candidate(e.method).is_base]
    if not excluded:
        return "No method has a score."
    sign = -1.0 if phrasing.verdict.metric.direction == "lower" else 1.0

    def rank(entry: Excluded) -> tuple[int, float, float]:
        score = phrasing.verdict.candidate(entry.method).score
        return len(entry.breaches), sum(map(_excess, entry.breaches)), -sign * score.value if score else 0.0

    nearest = min(excluded, key=rank)
    why = "; ".join(_breach(phrasing, breach) for breach in nearest.breaches)
    return f"Nearest to them: {nearest.method}, {phrasing.score(phrasing.verdict.candidate(nearest.method))}: {why}."


def _excess(breach: Breach) -> float:
    """By which share of it a limit is broken; infinite where nobody knows."""
    if breach.value is None or breach.bound is None:
        return math.inf
    return abs(breach.value - breach.bound) / (abs(breach.bound) or 1.0)
