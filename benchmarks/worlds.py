"""Worlds in which studies are simulated: what their methods are worth, and what their trainings come to.

Made without any of the product's code. A training with one seed has an accuracy around its method's, by a normal
variable of which a part can be one for all trainings with that seed; it may collapse, or diverge and leave none. Its
answer to an example is right where a normal score falls below that accuracy's quantile. Answers of different trainings
to one example correlate (latent-Gaussian, 0.4 between right-or-wrong answers); what one finds hard all find hard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

CORRELATION = 0.4
"""Between answers of two trainings to one example."""

COLLAPSED = 0.03
"""Accuracy of a collapsed training."""

DEMO_SDS = (0.007, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.13)
"""As scattered as the seeds of the demo's methods."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class World:
    """A kind of study; T methods."""

    accuracies: tuple[float, ...] = (0.5,) * 8
    """Of a training that goes right; before ``spread``."""
    spread: float = 0.0
    """Standard deviation of methods around their accuracy, drawn anew for each study."""
    seed_sds: tuple[float, ...] = (0.01,) * 8
    seeds: tuple[int, ...] = (3,) * 8
    examples: int = 1_000
    shared: float = 0.0
    """Of the seed variance, that one seed does to all methods alike."""
    heavy: bool = False
    """Seed effects have three degrees of freedom instead of normal tails."""
    collapse: tuple[float, ...] = (0.0,) * 8
    """Probability that a training collapses."""
    planned: tuple[int, ...] = (0,) * 8
    """Trainings that collapse for certain."""
    diverge: tuple[float, ...] = (0.0,) * 8
    """Probability that a training diverges."""
    base: float | None = None
    """Accuracy of the untouched base, where it is in the study."""
    per_group: int = 1
    """Examples of a document."""
    own_by_group: float = 0.0
    """Of what a method finds hard for itself, that it does of whole documents."""
    hard_by_group: float = 0.0
    """Of what all find hard, that is of whole documents."""
    copies: int = 1
    """Times that each example stands in the test, with the same answers."""
    told: bool = True
    """Whether the study knows what hangs together."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """One study of a world."""

    answers: dict[str, list[Floats | None]] = field(default_factory=dict)
    """By method, one entry per seed, of shape (examples,); None where the training diverged."""
    truths: dict[str, float] = field(default_factory=dict)
    """Expected score of one training."""
    right: dict[str, float] = field(default_factory=dict)
    """The same of a training that goes right."""
    groups: NDArray[np.int64] | None = None
    """Number of each example's document or original, where the study knows it."""


@cache
def latent_correlation(accuracy: float, wanted: float = CORRELATION) -> float:
    """Correlation of normal scores at which right-or-wrong answers of that accuracy correlate as wanted."""
    cut = stats.norm.ppf(accuracy)

    def miss(latent: float) -> float:
        both = stats.multivariate_normal([0.0, 0.0], [[1.0, latent], [latent, 1.0]]).cdf([cut, cut])
        return float((both - accuracy**2) / (accuracy * (1.0 - accuracy)) - wanted)

    return float(optimize.brentq(miss, 0.01, 0.99, xtol=1e-6))


def answers(
    generator: np.random.Generator, accuracies: Floats, *, latent: float, world: World, owners: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Right or wrong, of trainings of these accuracies, shape (trainings, examples).

    Args:
        owners: Method of each training: what one finds hard for itself, it does with every seed.
    """
    own = np.clip(accuracies, 0.001, 0.999)
    examples = world.examples
    documents = np.arange(examples) // world.per_group
    kinds = int(documents[-1]) + 1

    def normal(*shape: int) -> NDArray[np.float32]:
        return generator.standard_normal(shape, dtype=np.float32)

    shared, rest = normal(examples), normal(len(own), examples)
    if world.hard_by_group:
        part = world.hard_by_group
        shared = np.sqrt(1 - part) * shared + np.sqrt(part) * normal(kinds)[documents]
    if world.own_by_group:
        part = world.own_by_group
        rest = np.sqrt(1 - part) * rest + np.sqrt(part) * normal(int(owners.max()) + 1, kinds)[owners][:, documents]
    cut = stats.norm.ppf(own).astype(np.float32)[..., None] - np.float32(np.sqrt(latent)) * shared
    return np.asarray(rest * np.float32(np.sqrt(1.0 - latent)) < cut)


def a_study(world: World, generator: np.random.Generator) -> Study:
    """One study; ``base`` is the untouched base, others are named by their numbers."""
    count, most = len(world.accuracies), max(world.seeds)
    around = np.array(world.accuracies) + world.spread * generator.standard_normal(count)
    luck = _variates(generator, (count + 1, most), heavy=world.heavy)
    effects = np.sqrt(world.shared) * luck[0] + np.sqrt(1.0 - world.shared) * luck[1:]
    own = around[:, None] + np.array(world.seed_sds)[:, None] * effects
    fell = generator.random((count, most)) < np.array(world.collapse)[:, None]
    fell |= np.arange(most) < np.array(world.planned)[:, None]
    own = np.where(fell, COLLAPSED, own)
    gone = generator.random((count, most)) < np.array(world.diverge)[:, None]
    latent = latent_correlation(round(float(np.mean(world.accuracies)), 2))
    levels = np.append(own.ravel(), world.base if world.base is not None else 0.5)
    owners = np.append(np.repeat(np.arange(count), most), count)
    given = answers(generator, levels, latent=latent, world=world, owners=owners).astype(np.float64)
    given = np.repeat(given, world.copies, axis=-1)
    rows = given[:-1].reshape(count, most, -1)
    together = world.per_group * world.copies
    known = world.told and together > 1
    study = Study(groups=np.arange(given.shape[-1]) // together if known else None)
    for i in range(count):
        study.answers[str(i)] = [None if gone[i, s] else rows[i, s] for s in range(world.seeds[i])]
        study.right[str(i)] = float(around[i])
        certain = world.planned[i] / most
        collapse = certain + (1.0 - certain) * world.collapse[i]
        ended = collapse * COLLAPSED + (1.0 - collapse) * around[i]
        left = world.base if world.base is not None else ended
        study.truths[str(i)] = float(world.diverge[i] * left + (1.0 - world.diverge[i]) * ended)
    if world.base is not None:
        study.answers["base"] = [given[-1]]
        study.truths["base"] = study.right["base"] = world.base
    return study


def eight(one: float, others: float) -> tuple[float, ...]:
    """The first of eight methods otherwise than the rest."""
    return (one, *[others] * 7)


def _variates(generator: np.random.Generator, shape: Sequence[int], *, heavy: bool) -> Floats:
    """Of variance one."""
    if heavy:
        return np.asarray(generator.standard_t(3, tuple(shape)) / np.sqrt(3.0), np.float64)
    return generator.standard_normal(tuple(shape))
