"""What to try next: a grid over the card's range, a step beyond an edge, between the best two, or a draw of Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from peftscope.tuning.search_space import SearchSpace

__all__ = ["Point", "Proposal", "draw", "grid", "next_rate"]

MAX_GRID = 3
"""Grid points of a small budget; a larger one spends half of its trials on the grid."""
CLOSE = 1.2
"""Two rates nearer than this factor are not worth telling apart."""


@dataclass(frozen=True)
class Point:
    """A rate that was tried, and the validation loss it came to; infinite where it failed."""

    rate: float
    loss: float


@dataclass(frozen=True)
class Proposal:
    """A rate to try, and why."""

    rate: float
    origin: Literal["grid", "growth", "refinement"]


def grid(low: float, high: float, num_trials: int) -> list[float]:
    """Grid of a budget: points in the middle of equal parts of the range, on a log scale.

    Three points for four trials; of a larger budget, half.

    >>> [f"{rate:.2g}" for rate in grid(1e-5, 1e-3, 4)]
    ['2.2e-05', '0.0001', '0.00046']
    """
    count = max(min(MAX_GRID, num_trials), num_trials // 2)
    return [_rounded(low * (high / low) ** ((i + 0.5) / count)) for i in range(count)]


def next_rate(points: Sequence[Point], spacing: float) -> Proposal:
    """What to try after these points.

    Best rate at an end of what was tried: one spacing beyond it. Else halfway, on a log scale, to the better of its
    neighbours. A rate that failed counts as tried. Where all failed, one spacing below the lowest.

    Args:
        points: What was tried; at least one.
        spacing: Factor between two points of the grid.

    >>> next_rate([Point(1e-4, 2.0), Point(1e-3, 1.0), Point(1e-2, 1.5)], 10.0)
    Proposal(rate=0.0032, origin='refinement')
    >>> next_rate([Point(1e-4, 2.0), Point(1e-3, 1.0)], 10.0)
    Proposal(rate=0.01, origin='growth')
    """
    known = sorted(points, key=lambda point: point.rate)
    best = min(range(len(known)), key=lambda i: (known[i].loss, known[i].rate))
    if best == 0 or math.isinf(known[best].loss):
        return Proposal(_rounded(known[0].rate / spacing), "growth")
    if best == len(known) - 1:
        return Proposal(_rounded(known[-1].rate * spacing), "growth")
    sides = sorted((known[best - 1], known[best + 1]), key=lambda point: point.loss)
    for side in sides:
        if max(side.rate / known[best].rate, known[best].rate / side.rate) > CLOSE:
            return Proposal(_rounded(math.sqrt(side.rate * known[best].rate)), "refinement")
    widest = max(range(len(known) - 1), key=lambda i: known[i + 1].rate / known[i].rate)
    return Proposal(_rounded(math.sqrt(known[widest].rate * known[widest + 1].rate)), "refinement")


def draw(space: SearchSpace, tried: Sequence[tuple[Mapping[str, Any], float]], seed: int) -> dict[str, Any]:
    """A learning rate of the range and a candidate of every setting, drawn together.

    By Optuna's tree-structured Parzen estimator (Watanabe 2023, https://arxiv.org/abs/2304.11127) over all of them
    jointly, from the losses of what was tried; the same again for the same trials and seed.

    Args:
        space: With ``knobs``.
        tried: ``learning_rate`` and settings of each trial, and the validation loss it came to; infinite where it
            failed, which counts as the worst.
        seed: Of the draw.
    """
    import optuna  # takes a second to import, and most searches draw nothing
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed + len(tried), n_startup_trials=1, multivariate=True)
    study = optuna.create_study(sampler=sampler)
    distributions: dict[str, Any] = {
        "learning_rate": FloatDistribution(space.low, space.high, log=True),
        **{name: CategoricalDistribution(list(values)) for name, values in space.knobs.items()},
    }
    for params, loss in tried:
        # a pruned trial that reported nothing is what the sampler takes for the worst
        ended = {"state": TrialState.PRUNED} if math.isinf(loss) else {"value": loss}
        inside = {**params, "learning_rate": min(max(params["learning_rate"], space.low), space.high)}
        study.add_trial(optuna.trial.create_trial(params=inside, distributions=distributions, **ended))
    return dict(study.ask(distributions).params)


def _rounded(rate: float) -> float:
    """Two digits: what is written in a paper or typed again gives the same run."""
    return float(f"{rate:.1e}")
