"""Failures, environments, protocols and runs, as plain data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from peftscope.schema.flat_settings import flat
from peftscope.schema.record import RunRecord

__all__ = ["environments", "failures", "protocols", "stopped_text"]

BY_DESIGN = ("eliminated",)
"""Trials that the tuning's own rule stopped: no failures."""
PASSING = ("pid",)
"""What differs from process to process and says nothing of the machine."""


def failures(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """Runs that failed: those of one method and learning rate with the same reason together, with a traceback."""
    groups: dict[tuple[Any, ...], list[RunRecord]] = {}
    for record in sorted(records, key=lambda r: (r.spec.purpose, r.spec.method.title, r.spec.seed)):
        if record.status not in ("ok", *BY_DESIGN):
            spec = record.spec
            key = (spec.purpose, spec.method.title, spec.learning_rate, record.status, record.reason)
            groups.setdefault(key, []).append(record)
    return [_failure(group) for group in groups.values()]


def _failure(group: Sequence[RunRecord]) -> dict[str, Any]:
    spec = group[0].spec
    attempts = [attempt for record in group for attempt in record.attempts]
    starts = sum(record.num_starts for record in group)
    seeds = "" if spec.purpose == "trial" else f" seed{'s' * (len(group) > 1)} "
    seeds += "" if spec.purpose == "trial" else ", ".join(str(record.spec.seed) for record in group)
    rate = "" if spec.learning_rate is None else f" lr {spec.learning_rate:g}"
    return {
        "title": f"{spec.method.title}{rate}{' trial' if spec.purpose == 'trial' else ''}{seeds}",
        "runs": [record.run_id for record in group],
        "status": group[0].status,
        "reason": group[0].reason or "no reason was recorded",
        "reached": next((a.reached for a in reversed(attempts) if a.reached), None),
        "attempts": starts if starts > len(group) else None,
        "traceback": next((a.traceback for a in reversed(attempts) if a.traceback), None),
    }


def stopped_text(records: Iterable[RunRecord]) -> str | None:
    """How many trials the tuning's rule stopped."""
    count = sum(record.status in BY_DESIGN for record in records)
    if not count:
        return None
    return (
        f"{count} {'trial was' if count == 1 else 'trials were'} stopped early by the rule of the tuning: no failure."
    )


def environments(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """What runs ran in, the commonest first; each with the number of its runs."""
    kept: dict[str, Mapping[str, Any]] = {}
    counts: Counter[str] = Counter()
    for record in records:
        starts = [a for a in record.attempts if a.kind == "run" and a.environment]
        if starts:
            found = {k: v for k, v in starts[-1].environment.items() if k not in PASSING}
            key = json.dumps(found, sort_keys=True, default=str)
            kept[key] = found
            counts[key] += 1
    return [{"num_runs": count, "lines": flat(kept[key])} for key, count in counts.most_common()]


def protocols(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """Both kinds of protocol, the commonest first: hash, number of runs, what it is made of."""
    records = list(records)
    found = []
    for kind in ("quality", "cost"):
        counts = Counter(name for r in records if (name := getattr(r, f"{kind}_protocol")) is not None)
        made_of = {getattr(r, f"{kind}_protocol"): r.protocol for r in records if r.protocol is not None}
        for name, count in counts.most_common():
            parts = made_of.get(name)
            lines = flat(getattr(parts, kind)) if parts else []
            found.append({"kind": kind, "hash": name, "num_runs": count, "lines": lines})
    return found
