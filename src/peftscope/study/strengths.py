"""A study's runs at strengths between base and adapter: what was measured of them, as the statistics take it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.clusters import codes_of
from peftscope.analysis.strength import Strengths
from peftscope.analysis.strength_curve import Measured
from peftscope.analysis.within_limits import FORGETTING
from peftscope.errors import MethodRefused, ModelError, SpecError
from peftscope.methods.capabilities import MERGE, refusal
from peftscope.methods.card import Card
from peftscope.methods.catalog import card as card_of
from peftscope.schema.base import content_hash
from peftscope.schema.record import ExampleOutcome, RunRecord
from peftscope.schema.strength import BASE_KEY, StrengthRecord
from peftscope.store.strengths import known_strength, stored_strengths
from peftscope.study.results import StudyResults

__all__ = [
    "Points",
    "card_with_strengths",
    "final_runs",
    "key_of",
    "known_point",
    "made_of",
    "measured_of",
    "stored_points",
]

Floats = NDArray[np.float64]

Points = Mapping[str, Mapping[float, StrengthRecord]]
"""Run id -> strength -> what was measured."""


def card_with_strengths(record: RunRecord) -> Card:
    """The card of a run whose adapter can be set to a strength.

    Raises:
        MethodRefused: There are no weights between its base and its adapter.
        ModelError: Its base is quantized.
    """
    card = card_of(record.spec.method.name)
    if (reason := refusal(card.name, MERGE)) is not None:
        raise MethodRefused(
            f"{card.name} has no strengths between 0 and 1: there are no weights between the base and it, since it "
            f"cannot be merged ({reason})"
        )
    if record.spec.model.quantization is not None:
        raise ModelError(
            f"the base is quantized ({record.spec.model.quantization}): weights between it and the adapter would be "
            "rounded anew at every strength"
        )
    return card


def final_runs(found: StudyResults, method: str) -> list[RunRecord]:
    """The final runs of a candidate that ended well, by seed."""
    runs = found.runs
    wanted = set(runs.loc[(runs["method"] == method) & (runs["status"] == "ok"), "run_id"])
    return sorted((r for r in found.records if r.run_id in wanted), key=lambda record: record.spec.seed)


def key_of(record: RunRecord, strength: float) -> str:
    """What a measured strength is filed under: at 0 the base's, unless every seed has a validation split of its own."""
    return BASE_KEY if strength == 0.0 and not record.spec.vary_split else record.run_id


def made_of(record: RunRecord, strength: float) -> dict[str, Any]:
    """What decides the figures of a strength, from the record of the run."""
    known = {"weights": record.weights_sha256, "data": content_hash(dict(record.data))}
    if strength == 0.0:
        return known
    trained = [a.ended_at for a in record.attempts if a.kind == "run" and a.status == "ok"]
    return {**known, "trained": trained[-1] if trained else None}


def known_point(found: StudyResults, record: RunRecord, strength: float) -> StrengthRecord | None:
    """What was measured before; None where it still has to be."""
    return known_strength(found.folder, key_of(record, strength), strength, made_of(record, strength))


def stored_points(found: StudyResults, method: str) -> Points:
    """What lies in the study's folder of a method: strengths that all of its measured runs have."""
    stored = stored_strengths(found.folder)
    by_run: dict[str, dict[float, StrengthRecord]] = {}
    for record in final_runs(found, method):
        own = {
            p.strength: p
            for p in stored
            if p.key == key_of(record, p.strength) and p.made_of == made_of(record, p.strength)
        }
        if {0.0, 1.0} <= own.keys():
            by_run[record.run_id] = own
    if not by_run:
        return {}
    common = set.intersection(*(set(own) for own in by_run.values()))
    return {run: {strength: own[strength] for strength in sorted(common)} for run, own in by_run.items()}


def measured_of(found: StudyResults, method: str, points: Points) -> Measured:
    """What was measured of a method, as the statistics take it.

    Args:
        found: The study.
        method: Candidate of it.
        points: Of one run or more, all at the same strengths, 0 and 1 among them.

    Raises:
        SpecError: Runs were scored on different test examples.
    """
    sign = -1.0 if found.metric.direction == "lower" else 1.0
    first = next(iter(points.values()))
    strengths = sorted(first)
    ids = list(_by_example(first[0.0].test))
    if any(list(_by_example(p.test)) != ids for own in points.values() for p in own.values()):
        raise SpecError(str(found.folder), [f"runs of {method} were not scored on the same test examples"])
    test = np.stack([np.stack([_scores(own[s].test) for own in points.values()]) for s in strengths])
    valid = np.stack([np.stack([_scores(own[s].valid) for own in points.values()]) for s in strengths])
    others = _others(found, method, ids)
    return Measured(
        test=Strengths(
            strengths=np.array(strengths),
            scores=sign * test,
            groups=_groups(first[0.0].test),
            others=tuple(scores.mean(axis=1) for scores in others.values()),
        ),
        valid=Strengths(
            strengths=np.array(strengths),
            scores=sign * valid,
            groups=_groups(first[0.0].valid),
            others=_of_seeds(found, method, "valid_score"),
        ),
        sign=sign,
        forgetting=_forgetting(points, strengths),
        others_forgetting=_of_seeds(found, method, FORGETTING),
        others=others,
        is_gain_detectable=_is_gain_detectable(found, method),
    )


def _is_gain_detectable(found: StudyResults, method: str) -> bool | None:
    base = next((c.method for c in found.verdict.candidates if c.is_base), None)
    pair = None if base is None else found.verdict.pair(method, base)
    return None if pair is None else pair.verdict == "better"


def _forgetting(points: Points, strengths: Sequence[float]) -> Floats | None:
    if any(FORGETTING not in p.metrics for own in points.values() for p in own.values()):
        return None
    return np.array([[own[s].metrics[FORGETTING] for own in points.values()] for s in strengths])


def _by_example(outcomes: Iterable[ExampleOutcome]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.example_id, []).append(outcome.score)
    return found


def _scores(outcomes: Iterable[ExampleOutcome]) -> Floats:
    """Mean over draws, in the examples' order, shape (E,)."""
    return np.array([np.mean(scores) for scores in _by_example(outcomes).values()])


def _groups(outcomes: Iterable[ExampleOutcome]) -> NDArray[np.int64] | None:
    labels: dict[str, str | None] = {}
    for outcome in outcomes:
        labels.setdefault(outcome.example_id, outcome.group)
    return codes_of(list(labels.values()))


def _others(found: StudyResults, method: str, ids: Sequence[str]) -> dict[str, Floats]:
    """Test scores of the study's other trained methods that answered the same examples."""
    known: dict[str, Floats] = {}
    for candidate in found.verdict.candidates:
        if candidate.is_base or candidate.method == method or candidate.num_wrong:
            continue
        tables = [_by_example(record.examples) for record in final_runs(found, candidate.method)]
        if tables and all(table.keys() == set(ids) for table in tables):
            known[candidate.method] = np.array([[np.mean(table[i]) for i in ids] for table in tables])
    return known


def _of_seeds(found: StudyResults, method: str, metric: str) -> tuple[Floats, ...]:
    """A metric of the seeds of every other trained method."""
    known = []
    for candidate in found.verdict.candidates:
        if candidate.is_base or candidate.method == method or candidate.num_wrong:
            continue
        values = [record.metrics.get(metric) for record in final_runs(found, candidate.method)]
        known.append(np.array([value for value in values if value is not None], np.float64))
    return tuple(each for each in known if len(each))
