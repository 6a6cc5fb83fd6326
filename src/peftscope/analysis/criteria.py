"""What a verdict is held to: the margin of equivalence, the level, the looks it is taken at, who is out of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from peftscope.analysis.estimates import LEVEL
from peftscope.schema.elimination import Elimination
from peftscope.schema.metric import MetricSpec
from peftscope.schema.seeds import Looks

__all__ = ["SHARE_MARGIN", "Criteria", "criteria_for"]

SHARE_MARGIN = 0.02
"""Margin of equivalence where the metric is a share and the user names none."""


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What a verdict is held to."""

    margin: float | None = None
    """Difference that does not matter; None: nothing is called equivalent."""
    level: float = LEVEL
    """Of intervals, and 1 less the chance of any false verdict of a kind."""
    looks: Looks | None = None
    """By which seeds it is judged; None for a single planned look."""
    eliminations: tuple[Elimination, ...] = ()
    """Methods that a race has judged already."""

    def at_share(self, share: float) -> Criteria:
        """The same with a share of the error."""
        return replace(self, level=1.0 - (1.0 - self.level) * share)


def criteria_for(metric: MetricSpec, *, margin: float | None = None, looks: Looks | None = None) -> Criteria:
    """Those of a study: its margin, or 0.02 for a share where the user has not said one, at the usual level."""
    usual = SHARE_MARGIN if metric.unit == "share" else None
    return Criteria(margin=usual if margin is None else margin, looks=looks)
