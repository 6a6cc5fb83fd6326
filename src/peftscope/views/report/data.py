"""What the page and the pictures show, as plain data: everything is decided here, drawing decides nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.verdict import Verdict
from peftscope.schema.record import RunRecord, timestamp
from peftscope.views.choice import gone_wrong
from peftscope.views.report.answers import answer_data, disagreement_data
from peftscope.views.report.conditions import environments, failures, protocols, stopped_text
from peftscope.views.report.content import ReportContent
from peftscope.views.report.curves import best_data, learning_rate_data, training_data
from peftscope.views.report.first import first_data
from peftscope.views.report.fronts import axes_of, front_data, is_single, metrics_with_values
from peftscope.views.report.identity import marks_of
from peftscope.views.report.quantities import Axis, difference_text, plain, reading
from peftscope.views.report.samples import PictureTable
from peftscope.views.report.settings import code_data, settings_data
from peftscope.views.report.tables import figure_table, pair_matrix, pair_table, score_table

__all__ = ["figure_data", "report_data"]


def report_data(content: ReportContent) -> dict[str, Any]:
    """Everything that is shown, by section; texts are as they are in the records, for the page to escape.

    Returns:
        ``study``, ``methods`` (mark, tier, whether a single run), ``first`` (what a reader must know first),
        ``front``, ``tiers``, ``pairs``, ``learning_rates``, ``training``, ``best``, ``quality``, ``costs``,
        ``failures``, ``fairness``, ``conditions``, ``outputs``, ``settings``, ``code`` and ``choices``.
    """
    verdict = content.verdict
    metrics = metrics_with_values(content)
    axes = axes_of(metrics, verdict)
    methods = [c.method for c in verdict.candidates]
    judged = [r for r in content.records if not content.names or r.run_id in content.names]
    known = judged, content.names
    return {
        "study": _study(content),
        "methods": _methods(content),
        "first": first_data(content),
        "recommendation": [topic.plain for topic in content.recommendation],
        "pictures": [_pictures(table) for table in content.pictures],
        "front": front_data(content, axes),
        "tiers": {
            **_tiers(content, axes),
            "table": score_table(verdict),
            "notes": list(verdict.notes),
        },
        "pairs": {
            "matrix": pair_matrix(verdict),
            "table": pair_table(verdict),
            "margin": _margin(verdict),
        },
        "learning_rates": learning_rate_data(content.tunings),
        "best": best_data(content.tunings, higher_is_better=verdict.metric.direction != "lower"),
        "training": training_data(judged, methods, content.names),
        "quality": figure_table(verdict, [m for m in metrics if m.group == "quality"], axes),
        "costs": figure_table(verdict, [m for m in metrics if m.group == "cost"], axes),
        "failures": _failures(content.records),
        "fairness": {
            "warnings": list(content.warnings),
            "topics": [topic.plain for topic in content.fairness],
        },
        "conditions": {
            "protocols": protocols(content.records),
            "differences": list(content.conditions),
            "environments": environments(content.records),
            "warnings": list(dict.fromkeys(w for record in content.records for w in record.warnings)),
        },
        "names": {
            r.run_id: name
            for r in content.records
            if (name := content.names.get(r.run_id, r.spec.method.title)) != r.spec.method.title
        },
        "notes": list(content.notes),
        "outputs": answer_data(*known, methods, verdict.metric),
        "disagreements": disagreement_data(*known, methods, verdict.metric),
        "settings": settings_data(*known),
        "code": code_data(*known, content.traits, content.adapters),
        "choices": dict(content.choices),
    }


def figure_data(content: ReportContent) -> dict[str, Any]:
    """What pictures of the front and of the scores show, as ``report_data`` gives it, and no more."""
    axes = axes_of(metrics_with_values(content), content.verdict)
    return {
        "methods": _methods(content),
        "front": front_data(content, axes),
        "tiers": _tiers(content, axes),
        "learning_rates": [],
    }


def _tiers(content: ReportContent, axes: Mapping[str, Axis]) -> dict[str, Any]:
    metric = content.verdict.metric
    return {"points": _scores(content), "axis": axes[metric.name].title if metric.name in axes else metric.title}


def _margin(verdict: Verdict) -> str | None:
    if verdict.margin is None:
        return None
    return difference_text(verdict.metric, Estimate(verdict.margin, None, None)).lstrip("+")


def _failures(records: Sequence[RunRecord]) -> dict[str, Any]:
    found = failures(records)
    return {"runs": found, "number": sum(len(group["runs"]) for group in found), "stopped": stopped_text(records)}


def _study(content: ReportContent) -> dict[str, Any]:
    records = content.records
    finals = [r for r in records if r.spec.purpose == "final"]
    candidates = content.verdict.candidates
    return {
        "name": content.name,
        "place": content.place,
        "commands": _commands(content),
        "recommend": f"peftscope recommend {shlex.quote(content.place)}{content.options}",
        "made_at": timestamp().replace("T", " ")[:16] + " UTC",
        "models": list(dict.fromkeys(r.spec.model.source for r in records)),
        "tasks": list(dict.fromkeys(r.spec.task.name for r in records)),
        "metric": content.verdict.metric.title,
        "num_methods": sum(not c.is_base for c in candidates),
        "num_examples": max((c.num_examples for c in candidates), default=0),
        "num_finals": len(finals),
        "num_trials": len(records) - len(finals),
        "num_unscored": sum(c.score is None for c in candidates),
        "level": round(content.verdict.level * 100),
        "foreign": content.is_foreign,
        "version": _version(),
    }


def _commands(content: ReportContent) -> list[str]:
    """What repeats and shows things at the terminal; results of others cannot be repeated here."""
    place = shlex.quote(content.place)
    again = [f"peftscope rerun RUN --study {place}    # repeats one run and compares every loss and answer"]
    return [
        *([] if content.is_foreign else again),
        f"peftscope show RUN --study {place}     # one run: settings, figures, outputs",
        f"peftscope explore {place}              # this page and more, as the folder changes",
    ]


def _version() -> str:
    import peftscope

    return peftscope.__version__


def _methods(content: ReportContent) -> dict[str, dict[str, Any]]:
    """Candidates in the verdict's order; methods that were tuned and have no final run yet come after them."""
    candidates = content.verdict.candidates
    marks = marks_of([c.method for c in candidates if c.is_base], _titles(content))
    known = {c.method: c for c in candidates}
    # what has no figure in the verdict has no interval either, and contradicts nothing that is said of all the others
    all_single = bool(candidates) and all(map(is_single, candidates))
    found = {}
    for method, mark in marks.items():
        c = known.get(method)
        found[method] = {
            "color": mark.color,
            "symbol": mark.symbol,
            "is_base": c is not None and c.is_base,
            "single": all_single if c is None else is_single(c),
            "tier": None if c is None else c.tier,
        }
    return found


def _titles(content: ReportContent) -> list[str]:
    titles = [c.method for c in content.verdict.candidates]
    titles += [tuning.method for tuning in content.tunings]
    titles += [content.names.get(r.run_id, r.spec.method.title) for r in content.records if r.spec.purpose == "final"]
    return list(dict.fromkeys(titles))


def _scores(content: ReportContent) -> list[dict[str, Any]]:
    """Score with its interval, best first, tier after tier; in the unit of the axis."""
    metric = content.verdict.metric
    factor = 100.0 if metric.unit == "share" else 1.0
    sign = -1.0 if metric.direction == "lower" else 1.0
    found = []
    for c in content.verdict.candidates:
        read = reading(c, metric, score=metric)
        if read is not None:
            found.append(
                {
                    "method": c.method,
                    "value": plain(read.value * factor),
                    "low": None if read.low is None else plain(read.low * factor),
                    "high": None if read.high is None else plain(read.high * factor),
                    "tier": c.tier,
                    "is_base": c.is_base,
                    "single": is_single(c),
                    "text": read.text,
                    "spread": read.spread,
                    "risk": f"\n{gone_wrong(c)}" if c.num_wrong else "",
                }
            )
    last = max((c.tier or 0 for c in content.verdict.candidates), default=0) + 1
    found.sort(key=lambda p: (p["tier"] or last, -sign * float(p["value"] or 0)))
    return found


def _pictures(table: PictureTable) -> dict[str, Any]:
    rows = [{"name": name, "pictures": list(pictures)} for name, pictures in table.rows]
    return {"title": table.title, "about": table.about, "headings": list(table.headings), "rows": rows}
