"""Outcomes of methods that all trained well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from peftscope.analysis.criteria import Criteria
from peftscope.analysis.crossed import Crossed, fit_crossed
from peftscope.analysis.outcomes import Outcomes
from peftscope.analysis.pairs import pairs_of
from peftscope.analysis.pooling import pooled
from peftscope.analysis.verdict import Pair

__all__ = ["all_well", "judged_pairs", "outcomes_of_scores"]


def all_well(crossed: Crossed) -> Outcomes:
    """Nothing diverged, nothing collapsed."""
    none = np.zeros(len(crossed.names), dtype=np.int64)
    return Outcomes(whole=crossed, steady=crossed, diverged=none, collapsed=none)


def outcomes_of_scores(scores: Mapping[str, np.ndarray], *, fixed: Sequence[str] = ()) -> Outcomes:
    """The same of scores of shape (seeds, examples) by method."""
    return all_well(fit_crossed(scores, fixed=fixed))


def judged_pairs(outcomes: Outcomes, *, sign: float, margin: float | None, level: float) -> tuple[Pair, ...]:
    """Pairs with draws of their own."""
    drawn = pooled(outcomes.whole, np.random.default_rng(0))
    assert drawn is not None
    return pairs_of(outcomes, drawn, Criteria(margin=margin, level=level), sign=sign)
