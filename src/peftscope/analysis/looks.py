"""Looks at a study whose seeds grow: by plan where they decide, or by the user's hand after a first verdict.

A verdict that may be given at any of several looks is wrong more often than one that is given once. Each look has a
share of the error, and a verdict of any look stands: the error of all of them is at most the sum (Bonferroni's), by
whatever rule techniques were given more seeds. Judged at a look are those that were given some since the last one,
corrected over all techniques: those that go on are those that seem to differ, and a correction over them alone told
equals apart in 8 of 60 simulated studies. What is known of the others was decided before. The shares of planned looks
are equal; a part is kept back for looks that a user adds, so that adding seeds after a verdict costs no validity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.outcomes import Outcomes, Training, outcomes_of
from peftscope.spec.seeds import Looks

__all__ = ["Look", "looks_at"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look sees."""

    outcomes: Outcomes
    """Of all techniques, with the seeds they had."""
    in_play: frozenset[str]
    """Those that were given seeds since the last look, and the base."""
    share: float
    """Of the error."""


def looks_at(
    trainings: Mapping[str, Sequence[Training]],
    looks: Looks,
    *,
    fixed: Sequence[str] = (),
    sign: float = 1.0,
    groups: Ints | None = None,
) -> list[Look]:
    """What each look sees, as far as seeds are there; arguments as for ``outcomes_of``."""
    seen, before = [], frozenset[int]()
    for seeds, share in zip(looks.seeds, looks.shares):
        known = {n: [t for t in runs if n in fixed or t.seed in seeds] for n, runs in trainings.items()}
        scored = {n: runs for n, runs in known.items() if any(t.scores is not None for t in runs)}
        in_play = frozenset(n for n in scored if n in fixed or any(t.seed not in before for t in scored[n]))
        if in_play - set(fixed):
            outcomes = outcomes_of(scored, fixed=[n for n in fixed if n in scored], sign=sign, groups=groups)
            seen.append(Look(outcomes=outcomes, in_play=in_play, share=share))
        before = frozenset(seeds)
    return seen
