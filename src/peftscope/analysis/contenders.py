"""Who is given more seeds: the best so far, and those that more seeds may tell from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from peftscope.analysis.answers import answers_in
from peftscope.analysis.criteria import Criteria, criteria_for
from peftscope.analysis.distributions import t_quantile
from peftscope.analysis.looks import TrainedMethods
from peftscope.analysis.pairs import compared, verdicts_of
from peftscope.analysis.power import chances_to_decide
from peftscope.analysis.study_verdict import trained_in
from peftscope.schema.metric import MetricSpec
from peftscope.schema.seeds import Looks, SeedPlan

__all__ = ["HOPELESS", "contenders", "contenders_among"]

HOPELESS = 0.1
"""Chance to decide a pair by the most seeds below which it is left undecided."""

QUANTILES = np.linspace(0.005, 0.995, 100)


def contenders_among(
    runs: pd.DataFrame,
    examples: pd.DataFrame,
    metric: MetricSpec,
    *,
    base: str,
    plan: SeedPlan,
    eliminated: frozenset[str] = frozenset(),
) -> tuple[str, ...]:
    """The same from final runs.

    Args:
        runs: As for ``judge``, those of eliminated methods among them: the verdict is corrected over these, too.
        examples: As for ``judge``.
        metric: As for ``judge``.
        base: As for ``judge``.
        plan: How many seeds there may be, and when they are looked at.
        eliminated: Methods that get no more seeds.
    """
    sign = -1.0 if metric.direction == "lower" else 1.0
    answers = answers_in(runs, examples, bounded=metric.unit == "share", sign=sign)
    bases = list(runs.loc[runs["card"] == base, "method"].unique())
    rows = {str(title): own for title, own in runs.groupby("method", sort=False)}
    trained = trained_in(rows, answers, bases, sign=sign)
    if trained is None:
        return ()
    return contenders(replace(trained, eliminated=eliminated), plan.looks, criteria_for(metric), most=plan.most)


def contenders(trained: TrainedMethods, looks: Looks, criteria: Criteria, *, most: int) -> tuple[str, ...]:
    """Methods that more seeds go to, in the order of their names; none where nothing more is to be decided.

    Asked are the pairs of the best so far with the others that were given seeds at the last look, and with the base,
    as far as they are undecided. A pair that ``most`` seeds would hardly decide is left alone.

    Args:
        trained: All there are.
        looks: Of the plan; those without seeds yet are passed over.
        criteria: Margin, and level of the verdicts.
        most: Seeds of a method at most.
    """
    outcomes, sign = trained.outcomes, trained.sign
    whole, seen = outcomes.whole, trained.at(looks)
    if not seen:
        return ()
    in_play = seen[-1].in_play
    going_on = [i for i in outcomes.comparable if not whole.fixed[i] and whole.names[i] in in_play]
    if not going_on:
        return ()
    leader = max(going_on, key=lambda i: sign * whole.means[i])
    tested = compared(outcomes, sign=sign, margin=criteria.margin, looks=seen)
    verdicts = verdicts_of(tested, criteria.level, sign)
    open_pairs = [
        (index, int(second if first == leader else first))
        for index, (first, second) in enumerate(zip(tested.of.first, tested.of.second))
        if verdicts[index] == "undecided" and leader in (first, second)
    ]
    open_pairs = [(index, other) for index, other in open_pairs if other in going_on or whole.fixed[other]]
    found = set()
    for index, other in open_pairs:
        # what it may truly be, by this pair alone: a pooled guess would give up on gaps it takes for luck
        around = t_quantile(QUANTILES, tested.of.degrees[index]) * tested.of.errors[index]
        apart, same = chances_to_decide(
            whole,
            tested.of,
            index,
            tested.of.centres[index] + around,
            np.array([most]),
            criteria.at_share(seen[-1].share / len(open_pairs)),
        )
        if apart[0] + same[0] >= HOPELESS:
            found |= {leader, other}
    return tuple(name for i, name in enumerate(whole.names) if i in found and not whole.fixed[i])
