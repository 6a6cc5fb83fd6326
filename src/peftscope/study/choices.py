"""The answers under limits, each made here: a page that moves limits looks them up and decides nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

from peftscope.analysis.front import Front, front_of
from peftscope.analysis.recommendation import Recommendation
from peftscope.analysis.within_limits import SCORE, Limits, excluded_by, metric_for, quantities_of
from peftscope.methods.capabilities import SERVERS
from peftscope.methods.needs import MERGEABLE, NEEDS
from peftscope.schema.metric import MetricSpec
from peftscope.study.metrics import known_metrics
from peftscope.study.recommendation import memory_front, recommendation_for, topics_of
from peftscope.study.requirements import commonest_method
from peftscope.study.results import StudyResults, traits_by_name
from peftscope.tasks.registry import servers_of
from peftscope.upstream.contribution import BENCHMARKS
from peftscope.views.excluded import excluded_topic
from peftscope.views.phrasing import Phrasing
from peftscope.views.units import metric_text

__all__ = ["answer_under", "choices_of", "needing"]

OF_BENCHMARK: dict[str, str] = {benchmark: task for task, benchmark in BENCHMARKS.items()}
"""Our task that is the public benchmark's."""
AT_ONCE = 2
"""Limits together under which every answer is made beforehand."""
MOST_STOPS = 12
MOST_ANSWERS = 150
AMOUNTS = {"bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")), "s": ((60.0, "min"), (1.0, "s"), (1e-3, "ms"))}
"""Units in which an amount is written, the largest first."""
BARE = ((1.0, ""),)
DIGITS = (3, 4, 6, 9)


@dataclass(frozen=True, kw_only=True)
class _Stop:
    value: float
    label: str
    given: str
    admits: frozenset[str]


def choices_of(found: StudyResults, folder: Path) -> dict[str, Any]:
    """Limits with their stops, what each stop admits, and the answer to every set that up to two limits admit.

    Answers are keyed by the methods admitted, one a line, in the order of ``methods``.

    Args:
        found: What the study came to.
        folder: What adapters are told to lie in.
    """
    scored = found.verdict.in_question
    methods = [c.method for c in scored]
    limits = {name: stops for name in quantities_of(known_metrics()) if (stops := _stops(found, name))}
    needs = {name: _admitted(found, needing({name: True})) for name in _asked_of(found)}
    needs = {name: admits for name, admits in needs.items() if len(admits) < len(methods)}
    apart = {(name, need) for name in limits for need in needs if _differs(found, name, need)}
    answers: dict[str, Any] = {}
    front = memory_front(found)
    for wanted, admits in _combinations(limits, needs, frozenset(methods)):
        if any((name, need) in apart for name in wanted.costs for need in wanted.needs):
            continue  # stops that do not hold beside that need
        key = "\n".join(method for method in methods if method in admits)
        if key not in answers:
            answers[key] = _answer(found, wanted, admits, front, folder, with_excluded=False)
            if len(answers) >= MOST_ANSWERS:
                break
    specs = {name: _spec(found, name) for name in limits}
    return {
        "methods": methods,
        "bases": [c.method for c in scored if c.is_base],
        "limits": [
            {
                "name": name,
                "label": specs[name].title,
                "option": f"--max {name}=",
                "unit": _base_unit(specs[name].unit),
                "stops": [
                    {"value": s.value, "label": s.label, "given": s.given, "admits": sorted(s.admits)} for s in stops
                ],
                "unknown": _unknown(found, name),
                "apart_from": [need for need in needs if (name, need) in apart],
            }
            for name, stops in limits.items()
        ],
        "needs": [
            {
                "name": name,
                "label": NEEDS[name].label,
                "about": NEEDS[name].about,
                "option": NEEDS[name].option,
                "admits": sorted(admits),
            }
            for name, admits in needs.items()
        ],
        "answers": answers,
        "axes": None if front is None else [front.metrics[1].name, front.metrics[0].name],
    }


def _asked_of(found: StudyResults) -> list[str]:
    """Names of what can be asked of methods on the study's models: of servers only those that load a LoRA of such."""
    task = found.records[0].spec.task.name
    servers = servers_of(OF_BENCHMARK.get(task, task))
    return [name for name in NEEDS if servers is None or name not in SERVERS or name in servers]


def needing(asked: Mapping[str, bool]) -> Limits:
    """Limits that ask for what methods can be able to, by the names of ``NEEDS``."""
    return Limits(needs=tuple(name for name in NEEDS if asked.get(name)), is_merged=asked.get(MERGEABLE, False))


def answer_under(found: StudyResults, limits: Limits, folder: Path) -> dict[str, Any]:
    """The answer under limits, as ``recommend`` gives it, with the front of what keeps them."""
    return _answer(found, limits, _admitted(found, limits), memory_front(found), folder, with_excluded=True)


def _answer(
    found: StudyResults,
    limits: Limits,
    admits: frozenset[str],
    front: Front | None,
    folder: Path,
    *,
    with_excluded: bool,
) -> dict[str, Any]:
    recommendation = recommendation_for(found, have=commonest_method(), limits=limits)
    topics = topics_of(found, recommendation, front, folder)
    if not with_excluded:  # the same methods are admitted under other limits, too
        left_out = excluded_topic(_phrasing(recommendation))
        topics = [topic for topic in topics if left_out is None or topic.title != left_out.title]
        if recommendation.choice is None:
            topics = [replace(topics[0], lines=[]), *topics[1:]]
    kept = replace(found.verdict, candidates=tuple(c for c in found.verdict.candidates if c.method in admits))
    own = None if front is None else front_of(kept, front.metrics)
    choice = recommendation.choice
    return {
        "choice": None if choice is None else choice.method,
        "admitted": sorted(admits),
        "summary": "nothing" if choice is None else f"{choice.method}, {_phrasing(recommendation).score(choice)}",
        "topics": [topic.plain for topic in topics],
        "members": [] if own is None else list(own.members),
        "membership": {} if own is None else {m: p for m, p in own.membership.items() if p is not None},
    }


def _phrasing(recommendation: Recommendation) -> Phrasing:
    return Phrasing(found=recommendation, specs={metric.name: metric for metric in known_metrics()})


def _measured_by(found: StudyResults, limits: Limits) -> dict[str, str]:
    scored = found.verdict.in_question
    quantities = quantities_of(known_metrics())
    named = {name: metric_for(names, scored, merged=limits.is_merged) for name, names in quantities.items()}
    return {name: metric for name, metric in named.items() if metric is not None}


def _admitted(found: StudyResults, limits: Limits) -> frozenset[str]:
    """Candidates that keep the limits."""
    measured, traits, verdict = _measured_by(found, limits), traits_by_name(), found.verdict
    return frozenset(
        c.method for c in found.verdict.in_question if excluded_by(c, verdict, limits, measured, traits) is None
    )


def _spec(found: StudyResults, quantity: str) -> MetricSpec:
    name = _measured_by(found, Limits())[quantity]
    return next(spec for spec in known_metrics() if spec.name == name)


def _stops(found: StudyResults, quantity: str) -> list[_Stop]:
    """Bounds at which the set of admitted methods changes, the loosest first; none where nothing could change."""
    if quantity == SCORE or quantity not in _measured_by(found, Limits()):
        return []
    spec = _spec(found, quantity)
    trained = [c for c in found.verdict.in_question if not c.is_base]
    highs = sorted({c.metrics[spec.name].high for c in trained if spec.name in c.metrics}, reverse=True)
    if len(highs) < 2:
        return []
    kept = highs if len(highs) <= MOST_STOPS else [highs[len(highs) * i // MOST_STOPS] for i in range(MOST_STOPS)]
    return [
        _Stop(
            value=value,
            label=metric_text(spec, value),
            given=_written(spec.unit, value, next((high for high in reversed(highs) if high > value), math.inf)),
            admits=_admitted(found, Limits(costs={quantity: value})),
        )
        for value in kept
    ]


def _written(unit: str, value: float, below: float) -> str:
    """An amount as one would write it: rounded up to as few digits as stay below the next amount that admits more."""
    steps = AMOUNTS.get(unit, BARE)
    factor, name = next((step for step in steps if abs(value) >= step[0]), steps[-1])
    for digits in DIGITS if value else ():
        power = digits - 1 - math.floor(math.log10(abs(value) / factor))
        rounded = math.ceil(value / factor * 10.0**power - 1e-9) / 10.0**power
        text = f"{rounded:.12g}{name}"
        if value <= float(f"{rounded:.12g}") * factor < below:
            return text
    return f"{value!r}{_base_unit(unit)}"


def _base_unit(unit: str) -> str:
    """How an amount is written as it is."""
    return next(name for factor, name in AMOUNTS.get(unit, BARE) if factor == 1.0)


def _differs(found: StudyResults, quantity: str, need: str) -> bool:
    """Whether a quantity is read from another metric under a need, so that its stops do not hold beside it."""
    return _measured_by(found, needing({need: True}))[quantity] != _measured_by(found, Limits())[quantity]


def _unknown(found: StudyResults, quantity: str) -> list[str]:
    name = _spec(found, quantity).name
    return [c.method for c in found.verdict.in_question if not c.is_base and name not in c.metrics]


def _combinations(
    limits: Mapping[str, Sequence[_Stop]], needs: Mapping[str, frozenset[str]], methods: frozenset[str]
) -> Iterator[tuple[Limits, frozenset[str]]]:
    """No limit, then every single one, then every two, each with and without every need; and what they admit."""
    for count in range(AT_ONCE + 1):
        for names in combinations(limits, count):
            for stops in product(*(limits[name] for name in names)):
                for size in range(len(needs) + 1):
                    for asked in combinations(needs, size):
                        admits = methods.intersection(*(s.admits for s in stops), *(needs[name] for name in asked))
                        costs = {name: stop.value for name, stop in zip(names, stops)}
                        yield replace(needing(dict.fromkeys(asked, True)), costs=costs), admits
