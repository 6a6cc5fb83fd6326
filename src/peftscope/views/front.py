"""A front in words: its members, how sure each one's place is, and which of them chance could remove."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from peftscope.analysis.front import Front
from peftscope.analysis.verdict import Verdict
from peftscope.views.report.content import Topic
from peftscope.views.units import metric_text

__all__ = ["front_topic"]

SHOWN = 8
"""Names said one by one; the others are counted."""


def front_topic(front: Front, verdict: Verdict, *, left_out: Collection[str] = ()) -> Topic | None:
    """The front of the score against memory, and what is known of its members' places; None where it is empty.

    Args:
        front: Of all methods, whatever limits say.
        verdict: What is known of them.
        left_out: Methods that limits leave out, to be said.
    """
    if not front.members:
        return None
    score, cost = front.metrics
    members = [verdict.candidate(method) for method in front.members]
    heads = ("on the front", score.title, "memory", "probability")
    shown = len(heads) - all(front.membership.get(method) is None for method in front.members)
    rows: list[tuple[str, ...]] = [heads[:shown]]
    for method in front.members:
        chance = front.membership.get(method)
        sure = "single run" if chance is None else f"{chance * 100:.0f} %"
        values = (metric_text(m, v) for m, v in zip(front.metrics, front.points[method]))
        rows.append((method, *values, sure)[:shown])
    lines = [f"Memory is {cost.title}: {cost.window}."]
    without = [c.method for c in verdict.in_question if c.method not in front.points]
    if without:
        lines.append(f"Without a figure of it, and so not on the front: {_few(without)}.")
    outside = [method for method in front.members if method in left_out]
    if outside:
        lines.append(f"It is the front of all methods; the limits leave out {_few(outside)}.")
    lines += [f"{note[0].upper()}{note[1:]}." for note in front.notes if note.startswith("not on it")]
    if all(member.single for member in members):
        lines.append("Each is a single run: nobody knows how sure its place is.")
    lines += [
        f"One standard error of its score could remove {method}: {_few(others)} would beat it."
        for method, others in front.removable.items()
    ]
    if not front.removable and any(member.single for member in members):
        known = all(member.num_examples for member in members)
        lines.append(
            "One standard error of the score could remove none of them."
            if known
            else "Which of them one standard error of the score could remove is not known: no score of a single "
            "example was published."
        )
    return Topic(title="The front, best score for the least memory", lines=lines, rows=rows)


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
