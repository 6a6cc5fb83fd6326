"""The race of a study's methods: at fixed looks, those that another beats on every metric are eliminated.

A look is taken when every run of its round has ended, well or not, and sees the seeds up to that round alone: which run
ended first decides nothing. What it decides is kept and holds from then on, as long as the method that was better is in
the study: a look is not taken again when the study is stopped, when a run that failed is made again, or when methods
and seeds are added; one that had nothing to test was none. A method that comes later has looks of its own. One whose
seeds are all finished is not eliminated: there is nothing left to save. Whoever only reads a study takes no look. What
may be eliminated at all follows from what trainings take, which the first round tells; all others are given their seeds
at once, so that workers have something to do while a round ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from peftscope.methods.catalog import BASE
from peftscope.schema.elimination import Elimination, RaceLook
from peftscope.schema.record import RunRecord
from peftscope.schema.seeds import RACED_FROM, race_share
from peftscope.schema.study import StudySpec
from peftscope.tuning.expand import num_configurations

if TYPE_CHECKING:  # SciPy and pandas wait until there is something to look at
    from peftscope.analysis.race import Contest

__all__ = ["Race", "RaceHistory", "races"]


def races(study: StudySpec) -> bool:
    """Whether a method can be eliminated on the way: by others, after two seeds, with some left to save."""
    return study.race and num_configurations(study) > 1 and len(study.first_seeds) > RACED_FROM


@dataclass(frozen=True, kw_only=True)
class RaceHistory:
    """What earlier starts of a study left of its race."""

    looks: Sequence[RaceLook] = ()
    """Those that were taken."""
    finished: Mapping[str, str | None] = field(default_factory=dict)
    """Id of each run that is not made again -> its conditions of quality."""
    keep: Callable[[RaceLook], None] | None = None
    """Told of each look that is taken; None takes none."""

    def has(self, run_id: str, quality_protocol: str | None) -> bool:
        """Whether a run is finished under these conditions."""
        return run_id in self.finished and self.finished[run_id] == quality_protocol


@dataclass(frozen=True, kw_only=True)
class Race:
    """What is known of a study's methods before their final runs."""

    cards: Mapping[str, str]
    """Title of each candidate -> name of its card."""
    spared: frozenset[str] = frozenset()
    """Candidates that are not eliminated, since their learning rates are not bracketed."""
    history: RaceHistory

    def droppable(self, records: Iterable[RunRecord], titles: Mapping[str, str]) -> frozenset[str]:
        """Candidates that some other may beat on everything, as far as the first round tells of costs.

        Args:
            records: Of that round.
            titles: Run id -> candidate.
        """
        from peftscope.analysis.race import droppable_in

        contest = self._contest(list(records), titles, raced=dict.fromkeys(self.cards, ()), scored=False)
        return frozenset() if contest is None else droppable_in(contest)

    def eliminated(
        self,
        records: Sequence[RunRecord],
        titles: Mapping[str, str],
        *,
        raced: Mapping[str, tuple[str, ...]],
        among: Collection[str],
        number: int,
    ) -> list[Elimination] | None:
        """Candidates that end at a look; None where there was nothing to test, so that it was none.

        Args:
            records: Of the rounds so far, the base's and those of eliminated ones among them.
            titles: Run id -> candidate.
            raced: Those still in the race -> their runs that are looked at.
            among: Those of them that may end.
            number: Looks that were taken before.
        """
        from peftscope.analysis.estimates import LEVEL
        from peftscope.analysis.race import eliminated_in, has_tests

        contest = self._contest(records, titles, raced=raced)
        if contest is None or not has_tests(contest):
            return None
        found = eliminated_in(contest, (1.0 - LEVEL) * race_share(number))
        return [elimination for elimination in found if elimination.method in among]

    def _contest(
        self,
        records: Sequence[RunRecord],
        titles: Mapping[str, str],
        *,
        raced: Mapping[str, tuple[str, ...]],
        scored: bool = True,
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
            raced=raced,
        )
