"""What scores are worth once it is known that the best of many was picked: methods pooled in part.

The method with the highest mean is, in part, the one with the most luck; the more methods and the noisier, the
more so. What is said of selected or of many methods comes from one hierarchical model, in which the true means of
the trained methods scatter around a common one with heavy tails (Student's t with four degrees of freedom), as far
as the data say (flat prior on the spread: Gelman, Bayesian Analysis 1, 2006). A mean is drawn towards the others as
far as its own error is large beside that spread; one far from all is left where it is. The untouched base is no
method: its mean stays as measured.

The errors of the means are those of the crossed model. What methods share of them - the luck of the test examples -
moves all together and is one common part; the rest is taken as each method's own, its seed variance known with
that method's degrees of freedom. Draws come from parallel Gibbs chains; the spread is drawn on a grid with the
methods' means integrated out, so that chains do not stick where it is nearly zero.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.crossed import Crossed
from peftscope.analysis.estimates import Estimate

__all__ = ["FEWEST", "Pooled", "pooled"]

Floats = NDArray[np.float64]

FEWEST = 5
"""Trained methods from which on a spread between them can be estimated."""

HEAVY = 4.0
"""Degrees of freedom of the spread between methods."""

CHAINS, SETTLE, KEPT = 200, 15, 20
GRID = 24
LEAST_OWN = 0.05
"""Share of a mean's variance that is its own at least."""


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """Draws of the true means of methods, given everything seen."""

    names: tuple[str, ...]
    draws: Floats
    """Shape (draws, T)."""
    shrunk: bool
    """Methods lean on each other; else too few are there, and draws are of each mean's own error."""

    def estimate(self, name: str, level: float) -> Estimate:
        """A method's mean and its interval."""
        own = self.draws[:, self.names.index(name)]
        low, high = np.quantile(own, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
        return Estimate(float(own.mean()), float(low), float(high))

    def best_chances(self, sign: float, *, among: Collection[str] | None = None) -> dict[str, float]:
        """Probability that a method's true mean is the best of those asked about, or of all; none of nobody."""
        asked = [index for index, name in enumerate(self.names) if among is None or name in among]
        if not asked:
            return {}
        best = np.bincount((sign * self.draws[:, asked]).argmax(axis=1), minlength=len(asked))
        return dict(zip((self.names[index] for index in asked), map(float, best / len(self.draws))))


def pooled(crossed: Crossed, generator: np.random.Generator) -> Pooled | None:
    """Draws of the true means; None where one test example gives no error."""
    if crossed.num_examples < 2:
        return None
    trained = np.flatnonzero(~crossed.fixed & (crossed.degrees > 0))
    shape = (CHAINS * KEPT, len(crossed.names))
    common, own = _parts(crossed, shape[0], generator)
    draws = crossed.means + np.sqrt(own) * generator.standard_normal(shape)
    shrunk = len(trained) >= FEWEST
    if shrunk:
        draws[:, trained] = _chains(crossed.means[trained], own[:, trained], generator)
    draws += np.sqrt(common) * generator.standard_normal((shape[0], 1))
    if crossed.bounded:
        draws = np.clip(draws, 0.0, 1.0)
    return Pooled(names=crossed.names, draws=draws, shrunk=shrunk)


def _parts(crossed: Crossed, count: int, generator: np.random.Generator) -> tuple[float, Floats]:
    """Variance that all means share, and draws of each mean's own, shape (count, T)."""
    covariance, size = crossed.covariance, len(crossed.names)
    apart = covariance[~np.eye(size, dtype=bool)]
    common = max(float(apart.mean()), 0.0) if len(apart) else 0.0
    diagonal = np.diag(covariance)
    own = np.maximum(diagonal - common, LEAST_OWN * diagonal)
    of_seeds = np.minimum(np.diag(crossed.covariance_of_seeds), own)
    known = np.where(crossed.degrees > 0, crossed.degrees, 1e6)
    stretch = known / generator.chisquare(known, (count, size))
    return common, (own - of_seeds) + of_seeds * stretch


def _chains(means: Floats, own: Floats, generator: np.random.Generator) -> Floats:
    """Draws of the true means of methods with these errors, shape (CHAINS * KEPT, T)."""
    count = len(means)
    reach = max(float(np.ptp(means)), float(np.sqrt(own.mean())), 1e-12)
    # evenly spaced, as the prior is flat; the first step stands for a spread of nearly nothing
    spreads = np.concatenate([[0.02], np.linspace(0.08, 2.5, GRID - 1)]) * reach / np.sqrt(max(count / 8.0, 1.0))
    tails = np.ones((CHAINS, count))
    kept = []
    for step in range(SETTLE + KEPT):
        errors = own[step % KEPT :: KEPT]
        spread = _spread(means, errors, tails, spreads, generator)
        between = spread[:, None] ** 2 * tails
        weights = 1.0 / (errors + between)
        centre = (weights * means).sum(axis=1) / weights.sum(axis=1)
        centre += generator.standard_normal(CHAINS) / np.sqrt(weights.sum(axis=1))
        lean = between / (errors + between)
        true = centre[:, None] + lean * (means - centre[:, None])
        true += np.sqrt(lean * errors) * generator.standard_normal((CHAINS, count))
        steps = (true - centre[:, None]) / spread[:, None]
        tails = (HEAVY + steps**2) / generator.chisquare(HEAVY + 1.0, (CHAINS, count))
        if step >= SETTLE:
            kept.append(true)
    return np.concatenate(kept)


def _spread(means: Floats, errors: Floats, tails: Floats, spreads: Floats, generator: np.random.Generator) -> Floats:
    """A draw of the spread per chain, true means and their centre integrated out; shape (CHAINS,)."""
    variance = errors[:, None, :] + spreads[None, :, None] ** 2 * tails[:, None, :]
    total = (1.0 / variance).sum(axis=2)
    centre = (means / variance).sum(axis=2) / total
    logs = -0.5 * (np.log(variance).sum(axis=2) + np.log(total))
    logs -= 0.5 * ((means - centre[:, :, None]) ** 2 / variance).sum(axis=2)
    steps = np.gradient(spreads)
    chances = np.exp(logs - logs.max(axis=1, keepdims=True)) * steps
    sums = np.cumsum(chances, axis=1)
    place = (sums < generator.random(len(sums))[:, None] * sums[:, -1:]).sum(axis=1)
    return np.asarray(spreads[place], np.float64)
