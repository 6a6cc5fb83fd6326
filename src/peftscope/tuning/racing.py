"""The race of a study's methods: at fixed looks, those that another beats on every metric are eliminated.

A look is taken when every run of its round is there, and sees the seeds up to that round alone: which run ended first
decides nothing, and a study that was stopped decides the same again. What may be eliminated at all follows from what
trainings take, which the first round tells; all others are given their seeds at once, so that workers have something
to do while a round ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from peftscope.analysis.elimination import Elimination
from peftscope.methods.catalog import BASE
from peftscope.schema.record import RunRecord
from peftscope.schema.seeds import race_share

if TYPE_CHECKING:  # SciPy and pandas wait until there is something to look at
    from peftscope.analysis.race import Contest

__all__ = ["Race"]


@dataclass(frozen=True, kw_only=True)
class Race:
    """What is known of a study's methods before their final runs."""

    cards: Mapping[str, str]
    """Title of each candidate -> name of its card."""
    spared: frozenset[str] = frozenset()
    """Candidates that are not eliminated, since their learning rates are not bracketed."""

    def droppable(self, records: Iterable[RunRecord], titles: Mapping[str, str]) -> frozenset[str]:
        """Candidates that some other may beat on everything, as far as the first round tells of costs.

        Args:
            records: Of that round.
            titles: Run id -> candidate.
        """
        from peftscope.analysis.race import droppable_in

        contest = self._contest(list(records), titles, alive=tuple(self.cards), scored=False)
        return frozenset() if contest is None else droppable_in(contest)

    def eliminated(
        self,
        records: Sequence[RunRecord],
        titles: Mapping[str, str],
        *,
        alive: Collection[str],
        among: Collection[str],
        number: int,
    ) -> list[Elimination]:
        """Candidates that end at a look.

        Args:
            records: Of the rounds so far, the base's and those of eliminated ones among them.
            titles: Run id -> candidate.
            alive: Those still in the race.
            among: Those of them that may end.
            number: Of the look, from 0.
        """
        from peftscope.analysis.estimates import LEVEL
        from peftscope.analysis.race import eliminated_in

        contest = self._contest(records, titles, alive=tuple(alive))
        if contest is None:
            return []
        found = eliminated_in(contest, (1.0 - LEVEL) * race_share(number))
        return [elimination for elimination in found if elimination.method in among]

    def _contest(
        self, records: Sequence[RunRecord], titles: Mapping[str, str], *, alive: tuple[str, ...], scored: bool = True
    ) -> Contest | None:
        """None where no run told what the score is; with ``scored`` false of costs alone."""
        from peftscope.analysis.race import contest_of
        from peftscope.measures.registry import metric_specs
        from peftscope.methods.needs import fulfilled
        from peftscope.store.frame import examples_of, frame_of

        metric = next((record.metric for record in records if record.metric is not None), None)
        if metric is None:
            return None
        runs = frame_of(records)
        runs["method"] = [titles.get(record.run_id, record.spec.method.title) for record in records]
        examples = examples_of(records) if scored else None
        return replace(
            contest_of(runs, examples, metric, base=BASE, specs=tuple(metric_specs().values())),
            abilities={title: fulfilled(name) for title, name in self.cards.items()},
            spared=self.spared,
            alive=alive,
        )
