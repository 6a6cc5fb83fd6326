"""What trainings came to, those that went wrong among them.

What ranks is the expected score of one training. A diverged run is an outcome: its user is left with the untouched
base, and so it counts with the base's answers. A collapsed one ended, and counts with its own; it is told by its
score, far below that of the best training of the same method. Kills, full disks and interruptions say nothing of a
method and are no outcomes.

Runs that went wrong scatter by another law than those that did not: their method's seed variance is its own alone.
Beside the fit to all outcomes stands one to the steady ones. Where the steady runs of one method are better, and
it goes wrong no more often than the other, it is better, however far a collapse throws the means about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.crossed import Crossed, fit_crossed

__all__ = ["KEPT", "Outcomes", "Training", "outcomes_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KEPT = 0.25
"""Share of the best training's gain below which a training counts as collapsed."""

FAR = 6.0
"""Usual deviations below the best training of the method that it must be, too."""

QUANTILE = 0.3
"""Of differences between trainings of one method: how far usual ones are apart, collapsed ones among them."""

OF_NORMAL = 0.5449
"""The same quantile of the difference of two standard normal variables."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training of a method that had an outcome."""

    seed: int
    scores: Floats | None
    """Shape (E,); None where it diverged."""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Methods on the same test examples, with what went wrong; T methods."""

    whole: Crossed
    """Of all outcomes."""
    steady: Crossed
    """Of those that went right: the same methods in the same order."""
    diverged: Ints
    """Trainings that diverged, shape (T,)."""
    collapsed: Ints
    """Trainings that collapsed, shape (T,)."""

    @property
    def wrong(self) -> Floats:
        """Share of the trainings that went wrong, shape (T,)."""
        return np.asarray((self.diverged + self.collapsed) / self.whole.num_seeds, np.float64)

    @property
    def comparable(self) -> Ints:
        """Positions of those that a verdict can be on: the untouched base, and methods trained twice or more."""
        return np.flatnonzero(self.whole.fixed | (self.whole.num_seeds > 1))

    def among(self, positions: Ints) -> Outcomes:
        """Some of the methods, with what was estimated from all."""
        whole = self.whole.among(positions)
        return Outcomes(
            whole=whole,
            steady=whole if self.steady is self.whole else self.steady.among(positions),
            diverged=self.diverged[positions],
            collapsed=self.collapsed[positions],
        )


def outcomes_of(
    trainings: Mapping[str, Sequence[Training]],
    *,
    fixed: Sequence[str] = (),
    sign: float = 1.0,
    groups: Ints | None = None,
) -> Outcomes:
    """The outcomes of methods of which each has a training with scores.

    Args:
        trainings: By method; scores are finite and on the same examples in the same order.
        fixed: Methods that are not trained; the first is what a diverged training leaves its user with. Without
            one a diverged training is counted in ``diverged``, and in no score.
        sign: 1 where more is better, -1 where less is.
        groups: Number of each example's group; None where every example stands for itself.
    """
    scored = {name: [t for t in runs if t.scores is not None] for name, runs in trainings.items()}
    base = _stacked(scored[fixed[0]]).mean(axis=0) if fixed else None
    means = {name: _stacked(runs).mean(axis=1) for name, runs in scored.items()}
    floor = _floor(means, base, sign)
    fell = _collapsed({n: sign * m for n, m in means.items() if n not in fixed}, floor)
    right = {
        name: [t for t, wrong in zip(runs, fell.get(name, np.zeros(len(runs), bool))) if not wrong]
        for name, runs in scored.items()
    }
    num_diverged = np.array([len(runs) - len(scored[name]) for name, runs in trainings.items()])
    num_collapsed = np.array([len(scored[name]) - len(right[name]) for name in trainings])
    if base is None:
        counted = scored
    else:
        counted = {n: [t if t.scores is not None else Training(seed=t.seed, scores=base) for t in r]
                   for n, r in trainings.items()}  # fmt: skip
    gone = [n for n, d, c in zip(trainings, num_diverged, num_collapsed) if c or (d and base is not None)]
    whole = _fitted(counted, fixed, gone, groups)
    return Outcomes(
        whole=whole,
        steady=_fitted(right, fixed, (), groups) if gone else whole,
        diverged=num_diverged,
        collapsed=num_collapsed,
    )


def _fitted(
    trainings: Mapping[str, Sequence[Training]], fixed: Sequence[str], alone: Sequence[str], groups: Ints | None
) -> Crossed:
    scores = {name: _stacked(runs) for name, runs in trainings.items()}
    seeds = {name: [t.seed for t in runs if t.scores is not None] for name, runs in trainings.items()}
    return fit_crossed(scores, fixed=fixed, alone=alone, seeds=seeds, groups=groups)


def _stacked(trainings: Sequence[Training]) -> Floats:
    """Scores of those that have some, shape (trainings, E)."""
    return np.stack([t.scores for t in trainings if t.scores is not None])


def _floor(means: Mapping[str, Floats], base: Floats | None, sign: float) -> float | None:
    """Score of having gained nothing: the base's, else that of no right answer; None where neither is known."""
    if base is not None:
        return sign * float(base.mean())
    shares = all(values.min() >= 0.0 and values.max() <= 1.0 for values in means.values())
    return 0.0 if shares and sign > 0.0 else None


def _collapsed(means: Mapping[str, Floats], floor: float | None) -> dict[str, NDArray[np.bool_]]:
    """Which trainings kept too little of what the best of their method gained, more being better."""
    apart = [np.abs(m[:, None] - m)[np.triu_indices(len(m), k=1)] for m in means.values()]
    known = np.concatenate(apart) if apart else np.empty(0)
    if floor is None or not len(known):
        return {}
    usual = float(np.quantile(known, QUANTILE)) / OF_NORMAL
    found = {}
    for name, values in means.items():
        best = float(values.max())
        found[name] = (values - floor < KEPT * (best - floor)) & (best - values > FAR * usual)
    return found
