"""The Pareto front over two or more metrics, and how sure each method's place on it is.

Membership is counted over draws of all figures at once: true scores from the pooled draws, in which the luck of the
best is discounted and methods share the test examples', costs from the spread over their seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.verdict import Candidate, Verdict
from peftscope.schema.metric import MetricSpec

__all__ = ["Front", "front_of"]

SCORE_NAMES = ("test_score",)
"""Names a score has beside its metric's own."""

BLOCK = 2_000_000
"""Comparisons held at once."""
DRAWS, FEWEST_DRAWS, COMPARISONS = 10_000, 1_000, 4_000_000
"""Draws behind a probability: as many as a page of a hundred fronts can wait for."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Front:
    """Candidates none of which is beaten on every metric at once; the base is a candidate."""

    metrics: tuple[MetricSpec, ...]
    points: Mapping[str, tuple[float, ...]]
    """Value of each metric, for every candidate that has all of them."""
    members: tuple[str, ...]
    """On the front of the estimates as they stand, in the order of the last metric."""
    membership: Mapping[str, float | None]
    """Probability of being on the front; None where a candidate is a single run."""
    removable: Mapping[str, tuple[str, ...]]
    """Members that one standard error of the score could remove, with what would beat them then."""
    hypervolume: float | None
    """Of the members against ``reference``, each metric scaled to the range of the points; None for fewer than two
    points."""
    reference: tuple[float, ...]
    """The worst value of each metric among the points."""
    notes: tuple[str, ...] = ()


def front_of(verdict: Verdict, metrics: Sequence[MetricSpec], *, draws: int | None = None, seed: int = 0) -> Front:
    """The front of a verdict's candidates over some metrics.

    A metric of the verdict's name (or ``test_score``) is the score, others are the candidates' figures.

    Args:
        verdict: The candidates.
        metrics: Two or more.
        draws: Behind a probability; left out, as many as the number of candidates allows.
        seed: Of the draws.

    Raises:
        ValueError: Fewer than two metrics, or one with no better direction.
    """
    if len(metrics) < 2:
        raise ValueError("a front needs two metrics or more")
    flat = [m.name for m in metrics if m.direction == "neutral"]
    if flat:
        raise ValueError(f"neither direction of {', '.join(flat)} is better, so no front can be drawn over it")
    left = [c for c in verdict.candidates if c.eliminated is None]
    able = [c for c in left if all(_value(c, m, verdict) is not None for m in metrics)]
    notes = _absent(verdict, metrics)
    points = {c.method: tuple(float(_value(c, m, verdict) or 0.0) for m in metrics) for c in able}
    if not points:
        empty: dict[str, float | None] = {}
        return Front(
            metrics=tuple(metrics), points={}, members=(), membership=empty, removable={}, hypervolume=None,
            reference=(), notes=tuple(notes),
        )  # fmt: skip
    signs = np.array([_sign(metric) for metric in metrics])
    losses = np.array(list(points.values())) * signs
    on = np.asarray(moocore.is_nondominated(losses, keep_weakly=True), bool)
    names = list(points)
    order = sorted(map(int, np.flatnonzero(on)), key=lambda i: (losses[i, -1], losses[i, 0]))
    beaten = [name for name in verdict.understated if name in points and name not in {names[i] for i in order}]
    if beaten and any(_is_score(m, verdict) for m in metrics):
        notes.append(
            "not on it, but not shown to be beaten either, since a better learning rate may lie beyond: "
            + ", ".join(beaten)
        )
    membership = _membership(verdict, able, metrics, losses, draws or _draws(verdict), seed)
    unsure = [name for name, chance in membership.items() if chance is None]
    if unsure:
        notes.append("single runs, whose place on the front has no probability: " + ", ".join(unsure))
    worst = losses.max(axis=0)
    return Front(
        metrics=tuple(metrics),
        points=points,
        members=tuple(names[i] for i in order),
        membership=membership,
        removable=_removable(verdict, able, metrics, losses, order, notes),
        hypervolume=_hypervolume(losses) if len(names) > 1 else None,
        reference=tuple(map(float, worst * signs)),
        notes=tuple(notes),
    )


def _draws(verdict: Verdict) -> int:
    count = max(len(verdict.candidates), 1)
    spread = bool(verdict.standard_errors) or any(f.deviation for c in verdict.candidates for f in c.metrics.values())
    return min(DRAWS, max(FEWEST_DRAWS, COMPARISONS // count**2)) if spread else 1


def _sign(metric: MetricSpec) -> float:
    """What makes less better."""
    return 1.0 if metric.direction == "lower" else -1.0


def _is_score(metric: MetricSpec, verdict: Verdict) -> bool:
    return metric.name == verdict.metric.name or metric.name in SCORE_NAMES


def _value(candidate: Candidate, metric: MetricSpec, verdict: Verdict) -> float | None:
    if _is_score(metric, verdict):
        return None if candidate.score is None else candidate.score.value
    figure = candidate.metrics.get(metric.name)
    return None if figure is None else figure.mean


def _absent(verdict: Verdict, metrics: Sequence[MetricSpec]) -> list[str]:
    """Who cannot be placed, by what is lacking."""
    out = [elimination.method for elimination in verdict.eliminations]
    lines = [f"eliminated in the race, so not placed: {', '.join(out)}"] if out else []
    for metric in metrics:
        names = [c.method for c in verdict.candidates if _value(c, metric, verdict) is None and c.method not in out]
        if names:
            lines.append(f"without {metric.name}, so not placed: {', '.join(names)}")
    return lines


def _membership(
    verdict: Verdict,
    able: Sequence[Candidate],
    metrics: Sequence[MetricSpec],
    losses: Floats,
    draws: int,
    seed: int,
) -> dict[str, float | None]:
    generator = np.random.default_rng(seed)
    sampled = np.broadcast_to(losses, (draws, *losses.shape)).copy()
    drawn = verdict.pooled
    rows = [drawn.names.index(c.method) if drawn is not None and c.method in drawn.names else None for c in able]
    known = [i for i, row in enumerate(rows) if row is not None]
    for column, metric in enumerate(metrics):
        if _is_score(metric, verdict):
            if drawn is not None and known:
                taken = generator.integers(len(drawn.draws), size=draws)
                kept = [row for row in rows if row is not None]
                sampled[:, known, column] = _sign(metric) * drawn.draws[taken][:, kept]
            continue
        seen = [c.metrics[metric.name] for c in able]
        spread = np.array([(f.deviation or 0.0) / np.sqrt(f.num_runs) for f in seen])
        if spread.any():
            sampled[:, :, column] += spread * generator.standard_normal((draws, len(able)))
    shares = _on_front(sampled).mean(axis=0)
    scored = any(_is_score(m, verdict) for m in metrics)
    sure = [row is not None if scored else not c.single for c, row in zip(able, rows)]
    return {c.method: float(share) if known else None for c, share, known in zip(able, shares, sure)}


def _on_front(losses: Floats) -> NDArray[np.bool_]:
    """Which points no other beats, smaller being better: shape (draws, T, metrics) -> (draws, T)."""
    draws, count, _ = losses.shape
    on = np.ones((draws, count), bool)
    step = max(BLOCK // count, 1)
    for start in range(0, draws, step):
        columns = [np.ascontiguousarray(column) for column in np.moveaxis(losses[start : start + step], 2, 0)]
        for other in range(count):
            nowhere_worse, somewhere_better = np.ones(1, bool), np.zeros(1, bool)
            for column in columns:  # a metric at a time: far faster than all() and any() over so short an axis
                against = column[:, other : other + 1]
                nowhere_worse = nowhere_worse & (against <= column)
                somewhere_better = somewhere_better | (against < column)
            on[start : start + step] &= ~(nowhere_worse & somewhere_better)
    return on


def _standard_error(verdict: Verdict, candidate: Candidate) -> float | None:
    """Of the score; a single run's share has the binomial one where the number of answers is known."""
    if candidate.method in verdict.standard_errors:
        return verdict.standard_errors[candidate.method]
    if candidate.score is None or verdict.metric.unit != "share" or not candidate.num_examples:
        return None
    share = candidate.score.value
    return float(np.sqrt(share * (1.0 - share) / candidate.num_examples))


def _removable(
    verdict: Verdict,
    able: Sequence[Candidate],
    metrics: Sequence[MetricSpec],
    losses: Floats,
    members: Sequence[int],
    notes: list[str],
) -> dict[str, tuple[str, ...]]:
    found = {}
    of_score = [i for i, m in enumerate(metrics) if _is_score(m, verdict)]
    if not of_score:
        return {}
    unknown = []
    for index in members:
        error = _standard_error(verdict, able[index])
        if error is None:
            unknown.append(able[index].method)
            continue
        worse = losses[index].copy()
        worse[of_score] += error
        beats = (losses <= worse).all(axis=1) & (losses < worse).any(axis=1)
        beats[index] = False
        if beats.any():
            found[able[index].method] = tuple(c.method for c, beaten in zip(able, beats) if beaten)
    if unknown:
        notes.append("no standard error of the score is known, so nothing is said of removing " + ", ".join(unknown))
    return found


def _hypervolume(losses: Floats) -> float:
    best, worst = losses.min(axis=0), losses.max(axis=0)
    scaled = (losses - best) / np.where(worst > best, worst - best, 1.0)
    return float(moocore.hypervolume(scaled, ref=np.ones(losses.shape[1])))
