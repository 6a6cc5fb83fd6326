"""Who is given more seeds: the best so far, and those that more seeds may tell from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from peftscope.analysis.answers import answers_in
from peftscope.analysis.estimates import LEVEL
from peftscope.analysis.judge import margin_of, trainings_in
from peftscope.analysis.looks import Look, looks_at
from peftscope.analysis.outcomes import Outcomes, outcomes_of
from peftscope.analysis.pairs import compared, verdicts_of
from peftscope.analysis.power import chances_to_decide
from peftscope.spec.metric import MetricSpec
from peftscope.spec.seeds import Looks

__all__ = ["HOPELESS", "contenders", "contenders_among"]

HOPELESS = 0.1
"""Chance to decide a pair by the most seeds below which it is left undecided."""

QUANTILES = np.linspace(0.005, 0.995, 100)


def contenders_among(
    runs: pd.DataFrame, examples: pd.DataFrame, metric: MetricSpec, *, base: str, looks: Looks, most: int
) -> tuple[str, ...]:
    """The same from final runs; arguments as for ``judge``."""
    sign = -1.0 if metric.direction == "lower" else 1.0
    answers = answers_in(runs, examples, bounded=metric.unit == "share", sign=sign)
    trainings = trainings_in({str(title): rows for title, rows in runs.groupby("method", sort=False)}, answers.by_run)
    fixed = [title for title in runs.loc[runs["technique"] == base, "method"].unique() if title in trainings]
    if len(trainings) <= len(fixed):
        return ()
    seen = looks_at(trainings, looks, fixed=fixed, sign=sign, groups=answers.groups)
    outcomes = outcomes_of(trainings, fixed=fixed, sign=sign, groups=answers.groups)
    return contenders(outcomes, seen, sign=sign, margin=margin_of(metric), level=LEVEL, most=most)


def contenders(
    outcomes: Outcomes, looks: Sequence[Look], *, sign: float, margin: float | None, level: float, most: int
) -> tuple[str, ...]:
    """Techniques that more seeds go to, in the order of their names; none where nothing more is to be decided.

    Asked are the pairs of the best so far with the others that were given seeds at the last look, and with the base,
    as far as they are undecided. A pair that ``most`` seeds would hardly decide is left alone.

    Args:
        outcomes: All there are.
        looks: At what was seen so far, the last one at all that is there.
        sign: 1 where more is better, -1 where less is.
        margin: Of equivalence; None for none.
        level: Of the verdicts.
        most: Seeds of a technique at most.
    """
    whole = outcomes.whole
    in_play = looks[-1].in_play
    trained = [i for i in outcomes.comparable if not whole.fixed[i] and whole.names[i] in in_play]
    if not trained:
        return ()
    leader = max(trained, key=lambda i: sign * whole.means[i])
    tested = compared(outcomes, sign=sign, margin=margin, looks=looks)
    verdicts = verdicts_of(tested, level, sign)
    open_pairs = [
        (index, int(second if first == leader else first))
        for index, (first, second) in enumerate(zip(tested.of.first, tested.of.second))
        if verdicts[index] == "undecided" and leader in (first, second)
    ]
    open_pairs = [(index, other) for index, other in open_pairs if other in trained or whole.fixed[other]]
    found = set()
    for index, other in open_pairs:
        # what it may truly be, by this pair alone: a pooled guess would give up on gaps it takes for luck
        around = stats.t.ppf(QUANTILES, tested.of.degrees[index]) * tested.of.errors[index]
        apart, same = chances_to_decide(
            whole,
            tested.of,
            index,
            tested.of.centres[index] + around,
            np.array([most]),
            margin=margin,
            level=1.0 - (1.0 - level) * looks[-1].share,
            num_pairs=len(open_pairs),
        )
        if apart[0] + same[0] >= HOPELESS:
            found |= {leader, other}
    return tuple(name for i, name in enumerate(whole.names) if i in found and not whole.fixed[i])
