"""Mean scores, their variance and intervals where seeds and test examples are crossed.

Every seed of every method answers the same examples, so a score is a crossed random model per method::

    score[seed, example] = mean + seed effect + example effect + rest

and the variance of a method's mean has two parts (Brennan, Generalizability Theory, 2001, ch. 3): that of its
means per example, over examples, which holds the rest too, and the seed variance over the number of seeds. The
first is taken from a method's own thousand examples. The second would come from two or three numbers; so each
method's leans on those of all (``moderated``). Between methods of different accuracy it is taken to be
proportional to p (1 - p): seeds scatter less near 0 and 1, equally so on the arcsine scale.

Each method's mean square of seeds less its residual is an estimate of the seed variance; one below zero counts as
zero, which widens intervals a little. Degrees of freedom are Satterthwaite's (Biometrics Bulletin 2, 1946), the
error of the seed variance being that of the mean squares and not of their difference.

Seeds of the same number share the order of the data, and may lift or lower all methods together. How far they do
is one correlation over all pairs of methods, from four methods on; with equal variances that is the analysis of
a design blocked by seeds. A pair's difference then carries that much less of the seeds.

Where examples are related, groups of them stand for examples (``clusters``); everything below then is of groups.

Unbounded scores, such as losses, get an interval that is wider on the side of a long tail (Hall). Scores between 0 and
1 get Wilson's interval at the effective number of answers (Franco et al., Journal of Survey
Statistics and Methodology 7, 2019), with the t-quantile: it stays sound near 0 and 1, and with one run it is
Wilson's interval as it stands in books. A plain percentile bootstrap is known to fail here: over examples it misses
the seeds, over three seeds it is too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.clusters import parts_of_groups
from peftscope.analysis.moderated import moderated

__all__ = [
    "Crossed",
    "Differences",
    "against_the_others",
    "fit_crossed",
    "mean_differences",
    "mean_squares",
    "residual_weights",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCKED = 4
"""Methods with two shared seeds from which on the correlation of seed effects is estimated."""


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """Methods on the same test examples; T methods, E examples."""

    names: tuple[str, ...]
    num_seeds: Ints
    """Shape (T,)."""
    fixed: NDArray[np.bool_]
    """Shape (T,): has no seed variance, because it is not trained."""
    example_means: Floats
    """Shape (T, E): mean over the seeds; of groups of related examples, their parts of the mean."""
    num_answers: int
    """Test examples that all answered."""
    means: Floats
    """Shape (T,)."""
    bounded: bool
    """Every score lies between 0 and 1."""
    weight: Floats
    """Shape (T,): what a method's seed variance is proportional to."""
    residual: Floats
    """Shape (T,): variance of the rest, of one answer; NaN with one seed."""
    scale: Floats
    """Shape (T,): seed variance of one training, over ``weight``; 0 where it is not known."""
    noise: Floats
    """Shape (T,): mean square of seeds that ``scale`` is from, over ``weight``."""
    degrees: Floats
    """Shape (T,): degrees of freedom of ``scale``; 0 where no method has two seeds."""
    total_degrees: float
    """Of the seed variance of all methods together: no pair's is known better."""
    unsteady: NDArray[np.bool_]
    """Shape (T,): seeds scatter detectably more than the others'."""
    shared: Ints
    """Shape (T, T): seeds that two methods have in common."""
    correlation: float | None
    """Of what one seed does to two methods; None where too few share seeds."""

    @property
    def num_examples(self) -> int:
        """E: test examples, or groups of related ones."""
        return int(self.example_means.shape[1])

    @property
    def grouped(self) -> bool:
        """Whether examples are grouped: their variance is then estimated, and does not follow from the mean."""
        return self.num_examples < self.num_answers

    @property
    def seed_variance(self) -> Floats:
        """Variance of one training's mean around the method's, shape (T,)."""
        return np.where(self.fixed, 0.0, self.scale * self.weight)

    @cached_property
    def covariance_of_seeds(self) -> Floats:
        """The seeds' part in the covariance of the means, shape (T, T)."""
        deviations = np.sqrt(self.seed_variance)
        together = self.shared / np.outer(self.num_seeds, self.num_seeds)
        found = (self.correlation or 0.0) * together * np.outer(deviations, deviations)
        np.fill_diagonal(found, self.seed_variance / self.num_seeds)
        return np.asarray(found, np.float64)

    @cached_property
    def covariance(self) -> Floats:
        """Of the means, shape (T, T): methods share the examples, and what they share of the seeds."""
        count = self.num_examples
        if count < 2:
            return np.full((len(self.names), len(self.names)), np.nan)
        of_examples = np.atleast_2d(np.cov(self.example_means)) / count
        return np.asarray(of_examples + self.covariance_of_seeds, np.float64)

    def among(self, positions: Ints) -> Crossed:
        """Some of the methods, with what was estimated from all."""
        own = ["num_seeds", "fixed", "example_means", "means", "weight", "residual", "scale", "noise", "degrees"]
        return replace(
            self,
            names=tuple(self.names[i] for i in positions),
            shared=self.shared[np.ix_(positions, positions)],
            **{name: getattr(self, name)[positions] for name in [*own, "unsteady"]},
        )


@dataclass(frozen=True, kw_only=True)
class Differences:
    """First minus second of every pair; P pairs."""

    first: Ints
    """Shape (P,)."""
    second: Ints
    """Shape (P,)."""
    values: Floats
    """Shape (P,): plain difference of means."""
    centres: Floats
    """Shape (P,): middle of the interval, a hair nearer to 0 than the value."""
    errors: Floats
    """Shape (P,): standard error; 0 where the data give none."""
    degrees: Floats
    """Shape (P,): of freedom."""


def fit_crossed(
    scores: Mapping[str, Floats],
    *,
    fixed: Sequence[str] = (),
    seeds: Mapping[str, Sequence[int]] | None = None,
    alone: Sequence[str] = (),
    groups: Ints | None = None,
) -> Crossed:
    """Fit the crossed model to scores of shape (seeds, examples) by method.

    Args:
        scores: Finite; the same examples in the same order for all, seeds as many as there are.
        fixed: Methods that are not trained: a second run would give the same.
        seeds: Numbers of the seeds, in the order of the rows; 0, 1, 2 and so on where not said.
        alone: Methods whose seed variance is of another kind, and stays their own.
        groups: Number of each example's group, shape (examples,); None where every example stands for itself.
    """
    assert scores
    bounded = all(values.min() >= 0.0 and values.max() <= 1.0 for values in scores.values())
    num_answers = next(iter(scores.values())).shape[1]
    if groups is not None:
        scores = {name: parts_of_groups(values, groups) for name, values in scores.items()}
    names = tuple(scores)
    numbers = [tuple(range(len(v))) if seeds is None else tuple(seeds[n]) for n, v in scores.items()]
    untrained = np.array([name in fixed for name in names])
    counts = np.array([len(values) for values in scores.values()])
    by_example = np.stack([values.mean(axis=0) for values in scores.values()])
    means = by_example.mean(axis=1)
    weight = np.ones(len(names))
    if bounded:  # half an answer of each kind, so that no weight is zero
        answers = counts * num_answers
        share = (means * answers + 0.5) / (answers + 1.0)
        weight = share * (1.0 - share)
    squares, residual = np.array([mean_squares(values) for values in scores.values()]).T
    degrees = np.where(untrained | ~np.isfinite(squares), 0.0, counts - 1.0)
    found = moderated(squares / weight, degrees, alone=np.array([name in alone for name in names]))
    # where a method has no rest of its own, that of all: what is left of the noise is the seeds'
    own_rest = residual / by_example.shape[1] / weight
    borrowed = float(np.average(own_rest[degrees > 0], weights=degrees[degrees > 0])) if degrees.any() else 0.0
    scale = np.maximum(found.variances - np.where(degrees > 0, own_rest, borrowed), 0.0)
    scale = np.where(found.degrees > 0, scale, 0.0)
    shared = np.array([[len(set(one) & set(other)) for other in numbers] for one in numbers])
    shared[untrained | untrained[:, None]] = 0
    by_seed = [dict(zip(own, values.mean(axis=1))) for own, values in zip(numbers, scores.values())]
    return Crossed(
        names=names,
        num_seeds=counts,
        fixed=untrained,
        example_means=by_example,
        num_answers=num_answers,
        means=means,
        bounded=bounded,
        weight=weight,
        residual=residual,
        scale=scale,
        noise=found.variances,
        degrees=found.degrees,
        total_degrees=found.total,
        unsteady=found.unsteady,
        shared=shared,
        correlation=_correlation(by_seed, shared, np.sqrt(scale * weight), np.sqrt(found.variances * weight)),
    )


def mean_differences(crossed: Crossed, first: Ints, second: Ints) -> Differences:
    """Paired differences of methods by position, each of shape (P,).

    Between 0 and 1, half an answer is added to each of the four outcomes of a pair (Agresti and Min, Statistics in
    Medicine 24, 2005), of one seed of several, so that an interval does not shrink to nothing where all pairs agree.
    """
    count = crossed.num_examples
    values = crossed.means[first] - crossed.means[second]
    share = np.where(crossed.fixed, 0.0, 1.0 / crossed.num_seeds)
    rows = crossed.example_means - (0.5 if crossed.bounded else crossed.means[:, None])
    products = rows @ rows.T
    own = np.diag(products)
    sums = own[first] + own[second] - 2.0 * products[first, second]
    sums = np.where(sums > 1e-12 * (own[first] + own[second]), sums, 0.0)  # what is left of equal numbers
    if crossed.bounded:
        centres = values * count / (count + 2.0)
        added = np.maximum(share[first], share[second])
        of_examples = np.maximum((sums + np.where(added > 0.0, added, 1.0)) / (count + 2.0) - centres**2, 0.0)
        of_examples = of_examples / (count + 2.0)
    else:
        centres = values
        of_examples = sums / max(count - 1, 1) / count
    of_seeds = share * crossed.scale * crossed.weight
    apart = of_seeds[first] + of_seeds[second]
    left = np.maximum(apart - 2.0 * crossed.covariance_of_seeds[first, second], 0.0)
    variance = of_examples + left
    part = np.where(apart > 0.0, left / np.where(apart > 0.0, apart, 1.0), 1.0)
    noise = share * crossed.weight * crossed.noise
    of_variance = (
        part**2 * _variance_of_estimate(crossed, noise[first], noise[second], first, second) * _blocked(crossed)
    )
    if not crossed.bounded or crossed.grouped:
        of_variance = of_variance + of_examples**2 / max(count - 1, 1)
    errors = np.sqrt(variance) if count > 1 else np.zeros(len(variance))
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = np.where(of_variance > 0.0, variance**2 / of_variance, np.inf)
    return Differences(
        first=first, second=second, values=values, centres=centres, errors=errors, degrees=np.maximum(degrees, 1.0)
    )


def residual_weights(count: int) -> Floats:
    """Of the means, in the contrasts of each with the mean of the rest; shape (count, count)."""
    return np.asarray((np.eye(count) * count - 1.0) / (count - 1), np.float64)


def against_the_others(crossed: Crossed, among: Sequence[int]) -> tuple[Floats, Floats, Floats]:
    """Each method less the mean of the rest of a set: values, standard errors, degrees of freedom, shape (len,)."""
    weights = residual_weights(len(among))
    place = np.ix_(among, among)
    variance = np.einsum("ci,ij,cj->c", weights, crossed.covariance[place], weights)
    of_seeds = crossed.covariance_of_seeds[place]
    apart = weights**2 @ np.diag(of_seeds)
    left = np.einsum("ci,ij,cj->c", weights, of_seeds, weights)
    part = np.where(apart > 0.0, left / np.where(apart > 0.0, apart, 1.0), 1.0)
    noise = np.where(crossed.fixed, 0.0, crossed.weight * crossed.noise / crossed.num_seeds)[list(among)]
    degrees = np.where(crossed.degrees > 0, crossed.degrees, np.inf)[list(among)]
    of_variance = part**2 * (weights**4 @ (noise**2 / degrees)) * _blocked(crossed)
    if not crossed.bounded or crossed.grouped:
        count = max(crossed.num_examples, 2)
        of_examples = np.cov(weights @ crossed.example_means[list(among)])
        of_variance += (np.diag(of_examples) / count) ** 2 / (count - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees_of = np.where(of_variance > 0.0, variance**2 / of_variance, np.inf)
    return weights @ crossed.means[list(among)], np.sqrt(np.maximum(variance, 0.0)), np.maximum(degrees_of, 1.0)


def mean_squares(scores: Floats) -> tuple[float, float]:
    """Variance of the seeds' means, and of the rest of one answer; NaN with one seed or example."""
    seeds, examples = scores.shape
    if seeds < 2 or examples < 2:
        return np.nan, np.nan
    by_seed, by_example, mean = scores.mean(axis=1), scores.mean(axis=0), scores.mean()
    total = float(np.sum((scores - mean) ** 2))
    left = total - examples * float(np.sum((by_seed - mean) ** 2)) - seeds * float(np.sum((by_example - mean) ** 2))
    return float(by_seed.var(ddof=1)), max(left, 0.0) / ((seeds - 1) * (examples - 1))


def _correlation(by_seed: Sequence[Mapping[int, float]], shared: Ints, effects: Floats, noises: Floats) -> float | None:
    """Of seed effects, over all pairs of methods with two shared seeds or more.

    Each method's means are scaled by its noise first, so that an unsteady one does not speak for all.
    """
    able = [i for i in range(len(by_seed)) if effects[i] > 0.0 and (np.delete(shared[i], i) >= 2).any()]
    if len(able) < BLOCKED:
        return None
    products, expected = 0.0, 0.0
    for place, one in enumerate(able):
        for other in able[:place]:
            common = sorted(by_seed[one].keys() & by_seed[other].keys())
            if len(common) < 2:
                continue
            first, second = (np.array([by_seed[i][seed] for seed in common]) / noises[i] for i in (one, other))
            products += float(np.sum((first - first.mean()) * (second - second.mean())))
            expected += (len(common) - 1) * effects[one] * effects[other] / noises[one] / noises[other]
    return float(np.clip(products / expected, -1.0 / (len(able) - 1), 1.0)) if expected > 0.0 else None


def _variance_of_estimate(crossed: Crossed, one: Floats, other: Floats, first: Ints, second: Ints) -> Floats:
    """Squared error of the sum of two noises, shape (P,), over two: what methods lean on is one for both."""
    known = np.where(crossed.degrees > 0, crossed.degrees, np.inf)
    apart = one**2 / known[first] + other**2 / known[second]
    together = (one + other) ** 2 / max(crossed.total_degrees, 1.0)
    any_known = np.isfinite(known[first]) | np.isfinite(known[second])
    return np.asarray(np.where(any_known, np.maximum(apart, together), 0.0), np.float64)


def _blocked(crossed: Crossed) -> float:
    """By how much the squared error of a variance is larger because the correlation is estimated too."""
    trained = int((~crossed.fixed).sum())
    return 1.0 if crossed.correlation is None else trained / (trained - 1)
