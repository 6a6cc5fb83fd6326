"""The JSON document of ``peftscope recommend``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from peftscope.analysis.fairness import Fairness
from peftscope.analysis.front import Front
from peftscope.analysis.price import prices_of
from peftscope.analysis.recommendation import Recommendation
from peftscope.analysis.verdict import Candidate, Pair
from peftscope.analysis.within_limits import quantities_of
from peftscope.study.metrics import known_metrics
from peftscope.study.published import place_of
from peftscope.views.eliminated import eliminations_document
from peftscope.views.report.content import Topic

if TYPE_CHECKING:
    from peftscope.study.results import StudyResults

__all__ = ["document_of", "fairness_document"]


def document_of(
    found: StudyResults, answer: Recommendation, front: Front | None, topics: Sequence[Topic]
) -> dict[str, Any]:
    """Everything the terminal shows, and the figures behind it."""
    verdict = found.verdict
    return {
        "study": found.name,
        "folder": str(place_of(found.folder)),
        "metric": found.metric.model_dump(mode="json"),
        "margin": verdict.margin,
        "level": verdict.level,
        "limits": {
            **{name: answer.limits.costs.get(name) for name in quantities_of(known_metrics())},
            "score": answer.limits.score,
            "needs": list(answer.limits.needs),
        },
        "keep_of_base": answer.limits.keep_of_base,
        "prefer": list(answer.prefer),
        "measured_by": dict(answer.metrics),
        "choice": _candidate(answer.choice),
        "leave_alone": answer.base_unbeaten,
        "majority_score": answer.majority,
        "suspicions": [asdict(suspicion) for suspicion in answer.suspicions],
        "leading": _candidate(answer.leading),
        "beaten": [_pair(pair) for pair in answer.beaten],
        "better": [_pair(pair) for pair in answer.beats_choice],
        "tied": [
            {"method": tie.method, "kind": tie.kind, **({} if tie.pair is None else _pair(tie.pair))}
            for tie in answer.ties
        ],
        "cheapest": dict(answer.cheapest),
        "prices": [
            {
                "method": price.method,
                "gain": price.gain.value,
                "gain_interval": price.gain.interval,
                "forgetting": price.forgetting,
                "base_kept": math.exp(-price.forgetting),
                "per_point": price.per_point,
            }
            for price in prices_of(answer)
        ],
        "excluded": [asdict(excluded) for excluded in answer.excluded],
        "eliminated": eliminations_document(verdict.eliminations),
        "relatives": [asdict(relatives) for relatives in answer.relatives],
        "evidence": {
            "single": answer.is_single,
            "standard_error": answer.standard_error,
            "over_base": None if answer.base_pair is None else _pair(answer.base_pair),
            "more_seeds": [
                {"first": p.first, "second": p.second, **_more(p)}
                for tie in answer.ties
                if (p := tie.pair) is not None and tie.kind == "undecided"
            ],
            "notes": list(verdict.notes),
        },
        "tiers": [list(tier) for tier in verdict.tiers],
        "front": _front(front),
        "fairness": fairness_document(found.fairness),
        "failures": {method: [str(r) for r in reasons] for method, reasons in answer.failures.items()},
        "conditions": list(found.differing),
        "notes": list(found.notes),
        "text": [topic.plain for topic in topics],
    }


def _candidate(candidate: Candidate | None) -> dict[str, Any] | None:
    if candidate is None:
        return None
    return {
        "method": candidate.method,
        "card": candidate.card,
        "is_base": candidate.is_base,
        "learning_rate": candidate.learning_rate,
        "num_seeds": candidate.num_seeds,
        "num_examples": candidate.num_examples,
        "single": candidate.single,
        "tier": candidate.tier,
        "score": None if candidate.score is None else candidate.score.value,
        "score_interval": None if candidate.score is None else candidate.score.interval,
        "expected": None if candidate.pooled is None else candidate.pooled.value,
        "expected_interval": None if candidate.pooled is None else candidate.pooled.interval,
        "best_chance": candidate.best_chance,
        "gain": None if candidate.gain is None else candidate.gain.value,
        "gain_interval": None if candidate.gain is None else candidate.gain.interval,
        "metrics": {name: metric.mean for name, metric in candidate.metrics.items()},
    }


def _more(pair: Pair) -> dict[str, Any]:
    more = pair.more_seeds
    return {"more_seeds": None if more is None else more.seeds, "more_seeds_show": None if more is None else more.shows}


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "first": pair.first,
        "second": pair.second,
        "difference": pair.difference.value,
        "difference_interval": pair.difference.interval,
        "p_adjusted": pair.p_adjusted,
        "verdict": pair.verdict,
        "superiority": pair.superiority,
        **_more(pair),
    }


def _front(front: Front | None) -> dict[str, Any] | None:
    if front is None:
        return None
    return {
        "metrics": [metric.name for metric in front.metrics],
        "members": [
            {"method": m, "point": list(front.points[m]), "probability": front.membership.get(m)} for m in front.members
        ],
        "removable": {method: list(others) for method, others in front.removable.items()},
        "hypervolume": front.hypervolume,
        "notes": list(front.notes),
    }


def fairness_document(found: Fairness) -> dict[str, Any]:
    return {
        "warnings": [{**asdict(d), "text": d.text} for d in found.differences],
        "methods": [asdict(share) for share in found.shares],
        "num_protocols": found.num_protocols,
    }
