"""Which method to take: limits filter, preferences rank, and nothing is weighed in secret.

A preference for the score takes the best estimate where it is the last word, and keeps every method that is not
detectably worse than the best where another preference follows. A preference for a cost takes the least of it
among the methods that are detectably better than the untouched base, or all where that cannot be told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from peftscope.analysis.suspicions import Suspicion, is_above, majority_of, suspicions
from peftscope.analysis.traits import Traits
from peftscope.analysis.verdict import Candidate, FailedRun, Pair, Verdict
from peftscope.analysis.within_limits import (
    SCORE,
    Excluded,
    Limits,
    cheap_of,
    excluded_by,
    metric_for,
    quantities_of,
    value_of,
)
from peftscope.schema.metric import MetricSpec

__all__ = ["Recommendation", "Relative", "Tie", "recommend"]


@dataclass(frozen=True, kw_only=True)
class Tie:
    """A method that is not detectably different from the choice."""

    method: str
    kind: Literal["equivalent", "undecided", "unknown"]
    """``equivalent`` inside the margin, ``undecided``, or ``unknown``: no interval, and within one standard error."""
    pair: Pair | None
    """The choice first."""


@dataclass(frozen=True, kw_only=True)
class Relative:
    """A relative of the method the user has, and what makes it one."""

    method: str
    card: str
    have: str
    is_choice: bool
    settings: Mapping[str, object] = field(default_factory=dict)
    """Fields of the config that differ."""
    knobs: Mapping[str, tuple[object, object]] = field(default_factory=dict)
    """Settings it ran with otherwise than what it is set against: its own value, and the other."""
    against: str | None = None
    """Method of the study that is what the user has; None where none ran, and ``knobs`` are set against its card."""
    optimizer: str | None = None
    starts_from_data: bool = False
    changes_base: bool = False


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """An answer with everything it rests on."""

    verdict: Verdict
    limits: Limits
    prefer: tuple[str, ...]
    metrics: Mapping[str, str]
    """Quantity -> name of the metric it was read from; those nobody measured are not in it."""
    cheap: tuple[str, ...] = ()
    """Quantities that make a method cheap: what training with it takes."""
    choice: Candidate | None
    """None where nothing satisfies the limits; the base where nothing is detectably better than it."""
    leading: Candidate | None
    """The best estimate of those that satisfy the limits, the base aside."""
    beaten: tuple[Pair, ...] = ()
    """The choice is detectably better; the choice first."""
    beats_choice: tuple[Pair, ...] = ()
    """Detectably better than the choice, which is preferred for another reason; the choice first."""
    ties: tuple[Tie, ...] = ()
    cheapest: Mapping[str, str] = field(default_factory=dict)
    """Cost -> method that has the least of it, among the choice and those tied with it that are sound."""
    excluded: tuple[Excluded, ...] = ()
    relatives: tuple[Relative, ...] = ()
    """What ``relatives`` finds, where the user has said what they have."""
    base: Candidate | None = None
    base_pair: Pair | None = None
    """The choice, or where that is the base the best estimate, against the base."""
    is_single: bool = False
    """The choice is one training without scores per example."""
    standard_error: float | None = None
    """Of the choice's score, where it is a single run and the number of its answers is known."""
    failures: Mapping[str, tuple[FailedRun, ...]] = field(default_factory=dict)
    majority: float | None = None
    """What always giving the commonest answer would score: a second zero line beside the base."""
    suspicions: tuple[Suspicion, ...] = ()
    """What speaks against taking the scores for learning."""

    @property
    def majority_unbeaten(self) -> bool:
        """Whether the best estimate is not detectably above always giving one answer."""
        return self.leading is not None and not is_above(self.leading, self.majority)

    @property
    def base_unbeaten(self) -> bool:
        """Whether nothing that satisfies the limits is detectably better than leaving the model alone, or than always
        giving one answer."""
        return self.choice is not None and self.choice.is_base

    def is_sound(self, candidate: Candidate) -> bool:
        """Whether it can be advised as a cheaper choice.

        None of its trainings diverged or collapsed, and it is detectably better than the untouched base, where that
        was measured.
        """
        pair = self.verdict.pair(candidate.method, self.base.method) if self.base is not None else None
        beats_base = pair is None or pair.verdict == "better"
        return not candidate.num_wrong and beats_base and is_above(candidate, self.majority)


def recommend(
    verdict: Verdict,
    *,
    metrics: Sequence[MetricSpec] = (),
    limits: Limits | None = None,
    prefer: Sequence[str] = (SCORE,),
    traits: Mapping[str, Traits] | None = None,
) -> Recommendation:
    """Choose a method.

    Args:
        verdict: What the final runs say.
        metrics: What its figures are; those with a ``limit`` can be limited and preferred.
        limits: What the choice has to keep.
        prefer: Quantities, the most important first.
        traits: What methods can do, by their names.
    """
    assert prefer
    quantities = quantities_of(metrics)
    assert set(prefer) <= set(quantities), prefer
    limits, traits = limits or Limits(), traits or {}
    scored = verdict.in_question
    measured_by = {
        name: found
        for name, names in quantities.items()
        if (found := metric_for(names, scored, merged=limits.is_merged))
    }
    excluded = tuple(e for c in scored if (e := excluded_by(c, verdict, limits, measured_by, traits)) is not None)
    out = {e.method for e in excluded}
    eligible = [c for c in scored if c.method not in out]
    bases = [c for c in scored if c.is_base]
    trained = [c for c in eligible if not c.is_base]
    leading = _best(trained, verdict)
    base = bases[0] if bases else None
    majority = majority_of(scored) if verdict.metric.direction == "higher" else None
    above = [c for c in trained if is_above(c, majority)]
    if above or base is None or base not in eligible:
        choice = _choose(above or trained, eligible, base, verdict, tuple(prefer), measured_by)
    else:
        choice = base
    answer = Recommendation(
        verdict=verdict,
        limits=limits,
        prefer=tuple(prefer),
        metrics=measured_by,
        cheap=cheap_of(metrics),
        choice=choice,
        leading=leading,
        excluded=excluded,
        base=base,
        failures={c.method: c.failures for c in verdict.candidates if c.failures},
        majority=majority,
        suspicions=suspicions(verdict.candidates, verdict.metric),
    )
    return answer if choice is None else _told(answer, choice, eligible)


def _told(found: Recommendation, choice: Candidate, eligible: Sequence[Candidate]) -> Recommendation:
    """The recommendation with what the choice is set against."""
    verdict = found.verdict
    others = [c for c in verdict.candidates if c.score is not None and c.method != choice.method]
    pairs = [pair for c in others if (pair := verdict.pair(choice.method, c.method)) is not None]
    ties = tuple(tie for c in eligible if c.method != choice.method and (tie := _tie(choice, c, verdict)) is not None)
    if not choice.is_base:
        ties = tuple(tie for tie in ties if not verdict.candidate(tie.method).is_base)
    tied = [verdict.candidate(tie.method) for tie in ties]
    advised = [choice, *(candidate for candidate in tied if found.is_sound(candidate))]
    against = choice if not choice.is_base else found.leading
    return replace(
        found,
        beaten=tuple(pair for pair in pairs if pair.verdict == "better"),
        beats_choice=tuple(pair for pair in pairs if pair.verdict == "worse"),
        ties=ties,
        cheapest={name: c.method for name in found.cheap if (c := _least(advised, name, found)) is not None},
        base_pair=verdict.pair(against.method, found.base.method) if against and found.base else None,
        is_single=choice.single,
        standard_error=_standard_error(choice, verdict) if choice.single else None,
    )


def _choose(
    trained: Sequence[Candidate],
    eligible: Sequence[Candidate],
    base: Candidate | None,
    verdict: Verdict,
    prefer: tuple[str, ...],
    metrics: Mapping[str, str],
) -> Candidate | None:
    useful = trained
    if base is not None:
        is_judged = any(verdict.pair(c.method, base.method) is not None for c in trained)
        better = _beats if is_judged else _scores_more  # from one seed there is no verdict
        useful = [c for c in trained if better(c, base, verdict)]
        if not useful and base in eligible:
            return base
    left = list(useful or trained)
    for place, name in enumerate(prefer):
        if len(left) < 2:
            break
        is_last = place == len(prefer) - 1
        left = _preferred(left, name, verdict, metrics, is_last=is_last)
    return _best(left, verdict)


def _preferred(
    left: Sequence[Candidate], name: str, verdict: Verdict, metrics: Mapping[str, str], *, is_last: bool
) -> list[Candidate]:
    if name == SCORE:
        best = _best(left, verdict)
        assert best is not None
        return [best] if is_last else [c for c in left if c is best or _tie(best, c, verdict) is not None]
    if name not in metrics:
        return list(left)
    known = {c.method: value for c in left if (value := value_of(c, name, metrics)) is not None}
    least = min(known.values(), default=None)
    return [c for c in left if known.get(c.method) == least] if known else list(left)


def _beats(first: Candidate, second: Candidate, verdict: Verdict) -> bool:
    """Whether one is detectably better."""
    pair = verdict.pair(first.method, second.method)
    return pair is not None and pair.verdict == "better"


def _scores_more(first: Candidate, second: Candidate, verdict: Verdict) -> bool:
    """Whether one's estimate is better."""
    return second.score is None or _best([second, first], verdict) is first


def _best(candidates: Sequence[Candidate], verdict: Verdict) -> Candidate | None:
    sign = -1.0 if verdict.metric.direction == "lower" else 1.0
    return max(candidates, key=lambda c: sign * c.score.value if c.score else 0.0, default=None)


def _least(candidates: Sequence[Candidate], name: str, found: Recommendation) -> Candidate | None:
    known = [
        (value, c) for c in candidates if not c.is_base and (value := value_of(c, name, found.metrics)) is not None
    ]
    return min(known, key=lambda pair: pair[0])[1] if known else None


def _tie(choice: Candidate, other: Candidate, verdict: Verdict) -> Tie | None:
    pair = verdict.pair(choice.method, other.method)
    if pair is not None:
        if pair.verdict in ("better", "worse"):
            return None
        return Tie(method=other.method, kind="equivalent" if pair.verdict == "equivalent" else "undecided", pair=pair)
    errors = [_standard_error(c, verdict) for c in (choice, other)]
    assert choice.score is not None
    assert other.score is not None
    if errors[0] is None or errors[1] is None:
        return None
    reach = math.hypot(errors[0], errors[1])
    within = abs(choice.score.value - other.score.value) <= reach
    return Tie(method=other.method, kind="unknown", pair=None) if within else None


def _standard_error(candidate: Candidate, verdict: Verdict) -> float | None:
    """Of one training's share of right answers, over test examples alone."""
    if verdict.metric.unit != "share" or not candidate.num_examples or candidate.score is None:
        return None
    share = min(max(candidate.score.value, 0.0), 1.0)
    return math.sqrt(share * (1.0 - share) / candidate.num_examples)
