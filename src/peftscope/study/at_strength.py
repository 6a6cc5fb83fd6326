"""Methods that a limit on forgetting leaves out, at the strength that keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peftscope.analysis.recommendation import Recommendation
from peftscope.analysis.strength_curve import Point, point_within
from peftscope.analysis.within_limits import FORGETTING
from peftscope.errors import PeftscopeError
from peftscope.schema.metric import MetricSpec
from peftscope.study.results import StudyResults
from peftscope.study.strengths import card_with_strengths, final_runs, measured_of, stored_points
from peftscope.views.report.content import Topic
from peftscope.views.strength import point_text

__all__ = ["AtStrength", "at_strength_topic", "methods_at_strength"]

SHOWN = 3
"""Methods that were not measured yet and are named, the best of them."""


@dataclass(frozen=True, kw_only=True)
class AtStrength:
    """A method that forgets too much at full strength."""

    method: str
    point: Point | None
    """At the largest strength at which every seed keeps the limit; None where nobody has measured strengths."""

    def document(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {"method": self.method, **(point_document(self.point) if self.point else {"strength": None})}


def point_document(point: Point) -> dict[str, Any]:
    """A point of a curve as a document holds it: values, and their intervals beside them."""
    found: dict[str, Any] = {"strength": point.strength, "measured": point.is_measured}
    for name in ("score", "gain", "kept", "forgetting", "base_kept"):
        estimate = getattr(point, name)
        found[name] = None if estimate is None else estimate.value
        found[f"{name}_interval"] = None if estimate is None else estimate.interval
    return {**found, "valid_score": point.valid_score}


def methods_at_strength(found: StudyResults, recommendation: Recommendation) -> tuple[AtStrength, ...]:
    """What a limit on forgetting alone leaves out, those measured at strengths first, the best score first."""
    limits, sign = recommendation.limits, -1.0 if found.metric.direction == "lower" else 1.0
    bound = limits.costs.get(FORGETTING)
    if bound is None:
        return ()
    measured: list[tuple[float, AtStrength]] = []
    others: list[tuple[float, AtStrength]] = []
    for excluded in recommendation.excluded:
        candidate = found.verdict.candidate(excluded.method)
        if any(b.limit != FORGETTING or b.value is None for b in excluded.breaches) or candidate.score is None:
            continue
        if not _has_strengths(found, excluded.method):
            continue
        points = stored_points(found, excluded.method)
        if not points:
            others.append((-sign * candidate.score.value, AtStrength(method=excluded.method, point=None)))
            continue
        point = point_within(measured_of(found, excluded.method, points), bound)
        if point is not None and (limits.score is None or sign * point.score.value >= sign * limits.score):
            measured.append((-sign * point.score.value, AtStrength(method=excluded.method, point=point)))
    return tuple(each for _, each in [*_sorted(measured), *_sorted(others)[:SHOWN]])


def at_strength_topic(found: Sequence[AtStrength], metric: MetricSpec, folder: str) -> Topic | None:
    """The same in words; None where there is nothing to say."""
    lines = [f"{point_text(metric, each.method, each.point)}." for each in found if each.point is not None]
    open_ = [each.method for each in found if each.point is None]
    if open_:
        commands = " or ".join(f"'peftscope interpolate {folder} --method {method}'" for method in open_)
        lines.append(f"What less of an adapter would score is not measured yet: {commands} measures it.")
    return Topic(title="Kept by less of an adapter", lines=lines) if lines else None


def _has_strengths(found: StudyResults, method: str) -> bool:
    """Whether there are weights between the base and its adapters, which are kept."""
    runs = [r for r in final_runs(found, method) if (found.folder / "adapters" / r.run_id).is_dir()]
    try:
        return bool([card_with_strengths(record) for record in runs])
    except PeftscopeError:
        return False


def _sorted(found: list[tuple[float, AtStrength]]) -> list[tuple[float, AtStrength]]:
    return sorted(found, key=lambda each: each[0])
