"""Simulated studies whose truth is known, and what the statistics say of them.

How studies are made stands in ``worlds.py``, which shares no code with the analysis. The truth an interval must cover
is the method's expected accuracy over seeds and examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from worlds import CORRELATION, Study, World, a_study

from peftscope.analysis.familywise import all_pairs
from peftscope.analysis.intervals import mean_intervals
from peftscope.analysis.outcomes import Outcomes, Training, outcomes_of
from peftscope.analysis.pairs import compared, verdicts_of
from peftscope.analysis.power import Design, seeds_for_equivalence
from peftscope.analysis.tiers import tiers_of
from peftscope.schema.seeds import PLANNED

METHODS = 8
EXAMPLES = 1_000
MARGIN = 0.02
LEVEL = 0.95
LOOKS = (3, 5, 10)
"""Seeds at which a study is looked at."""
DRAWS = 2_000
"""Behind the tiers; a study of a user has 10,000."""

Floats = NDArray[np.float64]


@dataclass
class Look:
    """Counts over the studies of a cell, at one number of seeds."""

    studies: int = 0
    intervals: list[float] = field(default_factory=list)
    """Share of the methods whose interval holds the truth, one per study."""
    pairs: list[float] = field(default_factory=list)
    """The same of the pairs' differences."""
    false_better: int = 0
    """Studies in which two of the methods that are identical were told apart."""
    false_tiers: int = 0
    """Studies whose top tier lacks one of the best."""
    found: list[float] = field(default_factory=list)
    """Share of the other methods that the planted one was declared better than."""
    found_any: int = 0
    found_all: int = 0
    lower_tier: list[float] = field(default_factory=list)
    """Share of the other methods in a lower tier than the planted one's, that being the top."""
    equivalent: list[float] = field(default_factory=list)
    """Share of the identical pairs declared equivalent."""
    false_equivalent: list[bool] = field(default_factory=list)
    """Whether a pair that differs was declared equivalent, one per study."""


def run_cell(
    *,
    accuracy: float,
    seed_sd: float,
    studies: int,
    looks: Sequence[int] = LOOKS,
    gap: float = 0.0,
    full: bool = True,
    source: int = 0,
) -> dict[int, Look]:
    """Counts by number of seeds; the first method is ``gap`` better, and a study is looked at as it grows.

    Args:
        full: Also intervals and tiers; else only verdicts on pairs.
    """
    generator = np.random.default_rng([source, round(accuracy * 1000), round(seed_sd * 1000), round(gap * 1000)])
    world = World(
        accuracies=(accuracy + gap, *[accuracy] * (METHODS - 1)),
        seed_sds=(seed_sd,) * METHODS,
        seeds=(max(looks),) * METHODS,
        examples=EXAMPLES,
    )
    truths = np.array(world.accuracies)
    counts = {seeds: Look() for seeds in looks}
    for _ in range(studies):
        study = a_study(world, generator)
        for seeds in looks:
            outcomes = outcomes_in(study, seeds)
            _judge_pairs(counts[seeds], outcomes, truths)
            if full:
                _judge_rest(counts[seeds], outcomes, truths, generator)
    return counts


def outcomes_in(study: Study, seeds: int | None = None) -> Outcomes:
    """A study's trainings, the first so many of each method, as the product takes them."""
    trainings = {
        name: [Training(seed=seed, scores=scores) for seed, scores in enumerate(rows[:seeds])]
        for name, rows in study.answers.items()
    }
    return outcomes_of(trainings, fixed=["base"] if "base" in trainings else [], groups=study.groups)


def found_at_best(*, accuracy: float, seed_sd: float, gap: float, seeds: int, studies: int) -> float:
    """Share of the others that a test would find worse that knew every variance, under the same correction."""
    generator = np.random.default_rng([9, round(accuracy * 1000), seeds])
    truths = np.full(METHODS, accuracy)
    truths[0] += gap
    rest = truths * (1.0 - truths) * (1.0 - CORRELATION) / EXAMPLES
    variance = (seed_sd**2 + rest) / seeds
    first, second = np.triu_indices(METHODS, k=1)
    found = []
    for _ in range(studies):
        means = truths + np.sqrt(variance) * generator.standard_normal(METHODS)
        steps = (means[first] - means[second]) / np.sqrt(variance[first] + variance[second])
        adjusted = all_pairs(steps, np.full(len(steps), np.inf), METHODS)
        found.append(float((adjusted <= 1.0 - LEVEL)[first == 0].mean()))
    return float(np.mean(found))


def named_seeds(accuracy: float, seed_sd: float) -> int:
    """What the power formula names for equivalence, from the truth of the cell; many more than a user would pay for."""
    rest = accuracy * (1.0 - accuracy) * (1.0 - CORRELATION)
    named = seeds_for_equivalence(
        MARGIN,
        Design(
            per_seed=2.0 * (seed_sd**2 + rest / EXAMPLES),
            num_pairs=METHODS * (METHODS - 1) // 2,
            degrees_per_seed=METHODS,
            level=1.0 - (1.0 - LEVEL) * PLANNED,
        ),
        at_most=1_000,
    )
    assert named is not None
    return named


def _judge_pairs(look: Look, outcomes: Outcomes, truths: Floats) -> None:
    tested = compared(outcomes, sign=1.0, margin=MARGIN)
    of = tested.of
    verdicts = np.array(verdicts_of(tested, LEVEL, 1.0))
    truth = truths[of.first] - truths[of.second]
    half = stats.t.isf((1.0 - LEVEL) / 2.0, of.degrees) * of.errors
    same = truth == 0.0
    look.studies += 1
    look.pairs.append(float((np.abs(of.centres - truth) <= half).mean()))
    look.false_better += bool((same & (tested.p_adjusted <= 1.0 - LEVEL)).any())
    look.equivalent.append(float((verdicts[same] == "equivalent").mean()))
    if same.all():
        return
    right = ((verdicts == "better") & (truth > 0.0)) | ((verdicts == "worse") & (truth < 0.0))
    look.found.append(float(right[~same].mean()))
    look.found_any += bool(right.any())
    look.found_all += bool(right[~same].all())
    look.false_equivalent.append(bool((verdicts[~same] == "equivalent").any()))


def _judge_rest(look: Look, outcomes: Outcomes, truths: Floats, generator: np.random.Generator) -> None:
    crossed = outcomes.whole
    intervals = mean_intervals(crossed, LEVEL)
    covered = [i.low is not None and i.high is not None and i.low <= t <= i.high for i, t in zip(intervals, truths)]
    look.intervals.append(float(np.mean(covered)))
    top = tiers_of(crossed, sign=1.0, level=1.0 - (1.0 - LEVEL) * PLANNED, generator=generator, draws=DRAWS)[0]
    best = {str(i) for i in np.flatnonzero(truths == truths.max())}
    look.false_tiers += not best <= set(top)
    if len(best) == 1:
        others = {str(i) for i in range(len(truths))} - best
        look.lower_tier.append(len(others - set(top)) / len(others) if best <= set(top) else 0.0)
