"""Methods that a race eliminated, in words and as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from peftscope.schema.elimination import Elimination
from peftscope.views.line import one_line
from peftscope.views.report.content import Topic
from peftscope.views.units import metric_text

__all__ = ["eliminated_lines", "eliminated_topic", "eliminations_document"]

WHY = (
    "A method ends here when one other is detectably better in score and in everything that training takes; what it "
    "spent is billed. 'peftscope compare --no-race' trains the seeds it was spared."
)


def eliminated_lines(eliminations: Iterable[Elimination]) -> list[str]:
    """A line for each: after how many seeds, by whom, and on what figures."""
    return [
        one_line(
            f"{each.method}: eliminated after {each.num_seeds} seeds: worse than {each.by} on "
            + ", ".join(
                f"{worse.metric.title} ({metric_text(worse.metric, worse.value)} against "
                f"{metric_text(worse.metric, worse.other)})"
                for worse in each.worse
            )
        )
        for each in eliminations
    ]


def eliminated_topic(eliminations: Sequence[Elimination]) -> Topic | None:
    """The same with what it means; None where none was eliminated."""
    if not eliminations:
        return None
    lines = [f"{line}." for line in eliminated_lines(eliminations)]
    return Topic(title=f"Eliminated on the way: {len(eliminations)}", lines=[*lines, WHY])


def eliminations_document(eliminations: Iterable[Elimination]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "method": each.method,
            "by": each.by,
            "num_seeds": each.num_seeds,
            "p_adjusted": each.p_value,
            "worse": [{"metric": w.metric.name, "value": w.value, "other": w.other} for w in each.worse],
        }
        for each in eliminations
    ]
