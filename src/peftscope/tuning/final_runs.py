"""The final runs of a study: all seeds at once, or the first ones for all and more where they decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from peftscope.methods.catalog import BASE
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.seeds import SeedPlan
from peftscope.tuning.job import Job

__all__ = ["FinalConfig", "FinalRuns"]


@dataclass(frozen=True, kw_only=True)
class FinalConfig:
    """A method at its frozen configuration."""

    title: str
    """No other's."""
    run: Callable[[int], RunSpec]
    """By seed."""
    is_refused: bool = False
    """It fits no model: one run records why."""


class FinalRuns:
    """Final runs as they unfold; the same records give the same runs.

    Args:
        seeds: A list, or few for all and more where they decide.
        candidates: What is run with every seed.
        base: The run of the untouched base, which is waited for before more seeds are given; None where there is none.
    """

    def __init__(
        self, seeds: tuple[int, ...] | SeedPlan, candidates: Iterable[FinalConfig], *, base: RunSpec | None = None
    ) -> None:
        self.plan = seeds if isinstance(seeds, SeedPlan) else None
        self.candidates = {candidate.title: candidate for candidate in candidates}
        self._base_id = None if base is None else base.run_id
        self._given: dict[str, Job] = {}
        self._titles: dict[str, str] = {}
        self._records: dict[str, RunRecord] = {}
        self._num_looks = 0
        self._is_over = False
        first = seeds.seeds[: seeds.first] if isinstance(seeds, SeedPlan) else seeds
        self._due = self._starts(self.candidates, first)

    @property
    def num_runs(self) -> int:
        """Those that are known by now."""
        return len(self._given)

    def due(self) -> list[Job]:
        """Starts that can be made now; each is given once."""
        awaited = {*self._given, self._base_id} - {None}
        if self.plan is not None and not self._due and not self._is_over and awaited <= self._records.keys():
            self._due = self._more(self.plan)
            self._is_over = not self._due
        given, self._due = self._due, []
        return given

    def tell(self, record: RunRecord) -> None:
        """Take in what a start left behind, the base's record, too."""
        if record.run_id in self._given or record.run_id == self._base_id:
            self._records[record.run_id] = record

    def _starts(self, titles: Iterable[str], seeds: Iterable[int]) -> list[Job]:
        """Every candidate once before any twice."""
        jobs = []
        for seed in seeds:
            for title in titles:
                candidate = self.candidates[title]
                run = candidate.run(seed)
                if candidate.is_refused and title in self._titles.values():
                    continue
                self._titles.setdefault(run.run_id, title)
                if run.run_id not in self._given:
                    self._given[run.run_id] = Job(run=run)
                    jobs.append(self._given[run.run_id])
        return jobs

    def _more(self, plan: SeedPlan) -> list[Job]:
        """Of the next look, for those between which they decide; none where there are none."""
        counts = plan.counts
        self._num_looks += 1
        if self._num_looks >= len(counts):
            return []
        titles = self._contenders(plan)
        return self._starts(titles, plan.seeds[counts[self._num_looks - 1] : counts[self._num_looks]])

    def _contenders(self, plan: SeedPlan) -> tuple[str, ...]:
        from peftscope.analysis.contenders import contenders_among
        from peftscope.store.frame import examples_of, frame_of

        records = [r for r in self._records.values() if r.spec.purpose == "final"]
        metric = next((record.metric for record in records if record.metric is not None), None)
        if metric is None:
            return ()
        runs = frame_of(records)
        runs["method"] = [self._titles.get(r.run_id, r.spec.method.title) for r in records]
        found = contenders_among(runs, examples_of(records), metric, base=BASE, looks=plan.looks, most=plan.most)
        return tuple(title for title in found if title in self.candidates)
