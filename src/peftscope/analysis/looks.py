"""Looks at a study whose seeds grow: by plan where they decide, or by the user's hand after a first verdict.

A verdict that may be given at any of several looks is wrong more often than one that is given once. Each look has a
share of the error, and a verdict of any look stands: the error of all of them is at most the sum (Bonferroni's), by
whatever rule methods were given more seeds. Judged at a look are those that were given some since the last one,
corrected over all methods: those that go on are those that seem to differ, and a correction over them alone told
equals apart in 8 of 60 simulated studies. What is known of the others was decided before. The shares of planned looks
are equal; a part is kept back for looks that a user adds, so that adding seeds after a verdict costs no validity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.outcomes import Outcomes, Training, outcomes_of
from peftscope.schema.seeds import Looks

__all__ = ["Look", "TrainedMethods"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one look sees."""

    outcomes: Outcomes
    """Of all methods, with the seeds they had."""
    in_play: frozenset[str]
    """Those that were given seeds since the last look, and the base."""
    share: float
    """Of the error."""


@dataclass(frozen=True, kw_only=True)
class TrainedMethods:
    """Trainings by method, on the same examples; arguments as for ``outcomes_of``."""

    trainings: Mapping[str, Sequence[Training]]
    fixed: Sequence[str] = ()
    sign: float = 1.0
    groups: Ints | None = None
    eliminated: frozenset[str] = frozenset()
    """Methods that a race has judged: corrected over with the others, and in play at no look."""

    @cached_property
    def outcomes(self) -> Outcomes:
        """Of all trainings."""
        return self._fitted(self.trainings)

    def at(self, looks: Looks) -> list[Look]:
        """What each look sees, as far as seeds are there."""
        seen, before = [], frozenset[int]()
        for seeds, share in zip(looks.seeds, looks.shares):
            known = {n: [t for t in r if n in self.fixed or t.seed in seeds] for n, r in self.trainings.items()}
            scored = {n: runs for n, runs in known.items() if any(t.scores is not None for t in runs)}
            new = {n for n, runs in scored.items() if n not in self.fixed and any(t.seed not in before for t in runs)}
            if new:
                complete = all(len(runs) == len(scored.get(n, ())) for n, runs in self.trainings.items())
                outcomes = self.outcomes if complete else self._fitted(scored)
                in_play = frozenset(new | (scored.keys() & set(self.fixed))) - self.eliminated
                seen.append(Look(outcomes=outcomes, in_play=in_play, share=share))
            before = frozenset(seeds)
        return seen

    def _fitted(self, trainings: Mapping[str, Sequence[Training]]) -> Outcomes:
        fixed = [name for name in self.fixed if name in trainings]
        return outcomes_of(trainings, fixed=fixed, sign=self.sign, groups=self.groups)
