"""The rule that brackets a learning rate: which trials to make next, and which rate to choose.

Pure: from the losses seen so far follows what is asked for next, so that a study that was stopped asks for the same
trials again. Rates lie on one lattice for all methods and models, four to a decade; a short trial stops at the first
rung, a full one runs to the end.

1. Short trials at whole steps (a factor of 3.2) around the start, further in either direction until the best is inside.
   A divergence closes its side.
2. Full trials at the best short rate and half a step above it, since a rung favours rates that are too low; then at
   half-step neighbours of the best until both of them are worse or diverged.
3. The best rates again with each further seed. The lowest mean validation loss is the best, and its neighbours are
   tried where the mean moved it.
4. Within the bracket the rate is set to a quarter of a step: parabolas through losses and scores of the three rates
   over the logarithm of the rate, the mean of their lowest points. Below a divergence that is a quarter of a step down.

Where validation scores contradict the losses beyond their noise, the score decides, and the rate is bracketed by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from peftscope.analysis.tuning import Edge
from peftscope.schema.effort import Effort

__all__ = ["Ask", "Choice", "End", "Seen", "choose", "next_asks", "rate_at", "start_index"]

PER_DECADE = 4
"""Lattice points in a factor of ten; neighbours are half a step apart."""
STEP = 2
"""Lattice points between two short trials."""
RIVALS = 2
"""Best rates that are trained again with each further seed."""
BEYOND_NOISE = 2.0
"""Standard errors by which a score must contradict the loss to decide."""


def rate_at(index: float) -> float:
    """Learning rate of a lattice point, or of a place between two, to two digits.

    >>> [rate_at(index) for index in (-12, -11, -10, -9, -8)]
    [0.001, 0.0018, 0.0032, 0.0056, 0.01]
    """
    return float(f"{10 ** (index / PER_DECADE):.1e}")


def start_index(rate: float) -> int:
    """Lattice point nearest to a learning rate.

    >>> start_index(2e-3)
    -11
    """
    return round(PER_DECADE * math.log10(rate))


@dataclass(frozen=True, kw_only=True)
class End:
    """A full trial's result; infinite loss where it diverged or failed."""

    loss: float
    """Mean validation loss."""
    scores: tuple[float, ...] = ()
    """Validation score of each example, turned so that higher is better; empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What trials have shown so far."""

    rung: Mapping[int, float] = field(default_factory=dict)
    """Lattice point -> validation loss at the rung, of the first seed."""
    end: Mapping[tuple[int, int], End] = field(default_factory=dict)
    """Lattice point and number of the seed (from 0) -> full trial."""


@dataclass(frozen=True)
class Ask:
    """A trial that is to be made."""

    index: int
    seed_number: int = 0
    full: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The rate that is chosen, and how sure its place is."""

    index: int
    """Lattice point of the best full trial."""
    rate: float
    """Learning rate to take: that of the best full trial, or a quarter of a step from it."""
    edge: Edge | None
    """Side on which no worse or diverged neighbour was trained to the end; None where the rate is bracketed."""
    by_score: bool
    """The validation score decided against the loss."""


def next_asks(seen: Seen, effort: Effort, start: int) -> list[Ask]:
    """Trials to make now, all at once; none where tuning has ended.

    Args:
        seen: Results of all trials asked for before.
        effort: The offer.
        start: Lattice point to begin at.
    """
    short = _short(seen.rung, effort.num_short, start)
    if short:
        return short
    asks = _full(seen, effort)
    return asks[: max(0, effort.num_full - len(seen.end))]


def choose(seen: Seen, effort: Effort) -> Choice | None:
    """The best of what was trained to the end with every seed, or with as many as the offer allowed.

    None where every trial failed.
    """
    for num_seeds in range(effort.num_seeds, 0, -1):
        best, by_score = _best(seen, num_seeds)
        if best is not None:
            edge = _edge(seen, best, num_seeds, by_score=by_score)
            shift = 0.0 if edge is not None else _shift(seen, best, num_seeds)
            return Choice(index=best, rate=rate_at(best + shift), edge=edge, by_score=by_score)
    return None


def _short(rung: Mapping[int, float], offered: int, start: int) -> list[Ask]:
    if not rung:
        around = (start, start - STEP, start + STEP)
        return [Ask(index) for index in sorted(around[:offered])]
    if len(rung) >= offered:
        return []
    best = min(rung, key=lambda index: (rung[index], index))
    if best == min(rung):
        return [Ask(best - STEP)]  # also where all diverged
    if best == max(rung):
        return [Ask(best + STEP)]
    return []


def _full(seen: Seen, effort: Effort) -> list[Ask]:
    alive = [index for index, loss in seen.rung.items() if math.isfinite(loss)]
    if not alive:
        return []
    if not seen.end:
        best = min(alive, key=lambda index: (seen.rung[index], index))
        return [Ask(best, full=True), Ask(best + 1, full=True)]
    for num_seeds in range(1, effort.num_seeds + 1):
        found, by_score = _best(seen, num_seeds)
        if num_seeds > 1:
            again = _rivals(seen, num_seeds - 1)
            missing = [i for i in again if (i, num_seeds - 1) not in seen.end]
            if missing:
                return [Ask(index, num_seeds - 1, full=True) for index in missing]
        if found is None:  # all diverged: further down
            return [Ask(min(index for index, _ in seen.end) - 1, full=True)]
        best = found
        untried = [n for n in (best - 1, best + 1) if _compare(seen, n, best, num_seeds, by_score=by_score) is None]
        if untried:
            return [Ask(index, full=True) for index in untried]
        better = [n for n in (best - 1, best + 1) if _compare(seen, n, best, num_seeds, by_score=by_score) == "better"]
        if better:  # on fewer seeds than the best has: let it have as many
            return [Ask(n, s, full=True) for n in better for s in range(num_seeds) if (n, s) not in seen.end]
    return []


def _rivals(seen: Seen, num_seeds: int) -> list[int]:
    """The best and those next to it by mean loss over the first seeds, the best first."""
    best, by_score = _best(seen, num_seeds)
    if best is None:
        return []
    near = [n for n in (best - 1, best + 1) if math.isfinite(_mean_loss(seen, n, num_seeds))]
    order = sorted(near, key=lambda n: (_merit(seen, n, num_seeds, by_score=by_score), n))
    return [best, *order][:RIVALS]


def _best(seen: Seen, num_seeds: int) -> tuple[int | None, bool]:
    """The best rate of those trained with so many seeds, and whether the score decided."""
    losses = {i: _mean_loss(seen, i, num_seeds) for i in {index for index, _ in seen.end}}
    losses = {index: loss for index, loss in losses.items() if math.isfinite(loss)}
    if not losses:
        return None, False
    best = min(losses, key=lambda index: (losses[index], index))
    scored = [i for i in losses if _scores(seen, i, num_seeds) is not None]
    if best not in scored:
        return best, False
    top = max(scored, key=lambda index: (_mean_score(seen, index, num_seeds), -losses[index], -index))
    if top != best and _contradicts(seen, top, best, num_seeds):
        return top, True
    return best, False


def _contradicts(seen: Seen, top: int, best: int, num_seeds: int) -> bool:
    """Whether a score is higher than that of the lowest loss, beyond the noise of examples and seeds."""
    above, below = _scores(seen, top, num_seeds), _scores(seen, best, num_seeds)
    assert above is not None
    assert below is not None
    apart = above - below  # (seeds, examples)
    per_example = apart.mean(axis=0)
    variance = float(per_example.var(ddof=1)) / len(per_example) if len(per_example) > 1 else math.inf
    # one seed says nothing of what another would give; as much again as the examples' noise stands in for it
    seeds = float(apart.mean(axis=1).var(ddof=1)) / num_seeds if num_seeds > 1 else variance
    return bool(apart.mean() > BEYOND_NOISE * math.sqrt(variance + seeds))


def _edge(seen: Seen, best: int, num_seeds: int, *, by_score: bool) -> Edge | None:
    low, high = (_compare(seen, n, best, num_seeds, by_score=by_score) != "worse" for n in (best - 1, best + 1))
    return "both" if low and high else "lowest" if low else "highest" if high else None


def _compare(seen: Seen, index: int, best: int, num_seeds: int, *, by_score: bool) -> Literal["better", "worse"] | None:
    """A neighbour against the best over those of the first seeds both were trained with; None where there is none."""
    seeds = [seed for seed in range(num_seeds) if (index, seed) in seen.end]
    if any(not math.isfinite(seen.end[index, s].loss) for s in seeds):
        return "worse"
    common = [s for s in seeds if (best, s) in seen.end]
    if not common:
        return None
    if by_score:
        gaps = [float(np.mean(seen.end[best, s].scores) - np.mean(seen.end[index, s].scores)) for s in common]
    else:
        gaps = [seen.end[index, s].loss - seen.end[best, s].loss for s in common]
    gap = sum(gaps) / len(gaps)
    return "better" if gap < 0 else "worse"


def _shift(seen: Seen, best: int, num_seeds: int) -> float:
    """Lattice points from the best rate to the lowest point of the parabolas through it and its neighbours."""
    near = [(i - best, s, end) for (i, s), end in seen.end.items() if abs(i - best) <= 1 and s < num_seeds]
    if any(offset == 1 and not math.isfinite(end.loss) for offset, _, end in near):
        return -0.5
    near = [(offset, seed, end) for offset, seed, end in near if math.isfinite(end.loss)]
    lowest = [_lowest([(offset, seed, end.loss) for offset, seed, end in near])]
    if all(end.scores for _, _, end in near):
        lowest.append(_lowest([(offset, seed, -float(np.mean(end.scores))) for offset, seed, end in near]))
    known = [max(-1.0, min(1.0, value)) for value in lowest if value is not None]
    return max(-0.5, min(0.5, round(2 * sum(known) / len(known)) / 2)) if known else 0.0


def _lowest(points: Sequence[tuple[int, int, float]]) -> float | None:
    """Where the parabola through (offset, seed, value) is lowest, each seed with its own level; None without one."""
    if len({offset for offset, _, _ in points}) < 3:
        return None
    seeds = sorted({seed for _, seed, _ in points})
    terms = np.array([[o * o, o, *(float(seed == other) for other in seeds)] for o, seed, _ in points])
    curvature, slope = np.linalg.lstsq(terms, np.array([value for _, _, value in points]))[0][:2]
    return float(-slope / (2 * curvature)) if curvature > 0 else None


def _mean_loss(seen: Seen, index: int, num_seeds: int) -> float:
    """Over the first seeds; infinite where one diverged or is missing."""
    ends = [seen.end.get((index, seed)) for seed in range(num_seeds)]
    return math.inf if None in ends else sum(end.loss for end in ends if end is not None) / num_seeds


def _scores(seen: Seen, index: int, num_seeds: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]] | None:
    """Shape (seeds, examples); None where one has none."""
    rows: Sequence[tuple[float, ...]] = [seen.end[index, seed].scores for seed in range(num_seeds)]
    return np.array(rows, np.float64) if rows[0] and len({len(row) for row in rows}) == 1 else None


def _mean_score(seen: Seen, index: int, num_seeds: int) -> float:
    scores = _scores(seen, index, num_seeds)
    assert scores is not None
    return float(scores.mean())


def _merit(seen: Seen, index: int, num_seeds: int, *, by_score: bool) -> float:
    """Smaller is better."""
    if by_score and _scores(seen, index, num_seeds) is not None:
        return -_mean_score(seen, index, num_seeds)
    return _mean_loss(seen, index, num_seeds)
