"""What a reader must know before any figure."""

from __future__ import annotations

from typing import Any

from peftscope.views.choice import gone_wrong
from peftscope.views.eliminated import eliminated_lines
from peftscope.views.report.content import ReportContent

__all__ = ["first_data"]

FOREIGN = (
    "These are results that others published. Each method was trained once: where there is no interval, a difference "
    "may be luck."
)
SIDES = {"lowest": "a lower one", "highest": "a higher one", "both": "one on either side"}


def first_data(content: ReportContent) -> list[dict[str, Any]]:
    """Headings with their lines, the gravest first; those without lines are left out."""
    candidates = content.verdict.candidates
    wrong = [f"{c.method}: {gone_wrong(c)}." for c in candidates if c.num_wrong]
    unscored = [c.method for c in candidates if c.score is None]
    if unscored:
        wrong.append(f"No score at all: {', '.join(unscored)}.")
    edges = [
        f"{tuning.method}: {SIDES[tuning.edge]} may be better, so it is never called worse."
        for tuning in content.tunings
        if tuning.edge
    ]
    found = [
        ("Methods differ in more than the method", list(content.warnings)),
        ("Look at the answers first", list(content.suspicions)),
        ("Trainings that went wrong", wrong),
        ("Eliminated on the way", eliminated_lines(content.verdict.eliminations)),
        ("Learning rates that are not bracketed", edges),
        ("About the data", list(content.data_notes)),
        ("About these records", [*([FOREIGN] if content.is_foreign else []), *content.notes]),
    ]
    return [{"title": title, "lines": lines} for title, lines in found if lines]
