"""The final runs of a study: all seeds at once or in rounds of a race, then more where they decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from peftscope.methods.catalog import BASE
from peftscope.schema.elimination import Elimination, RaceLook
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.seeds import RACED_FROM, SeedPlan
from peftscope.tuning.job import Job
from peftscope.tuning.racing import Race

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
    """Final runs as they unfold; the same records and looks give the same runs.

    Args:
        seeds: A list, or few for all and more where they decide.
        candidates: What is run with every seed.
        base: The run of the untouched base, which is waited for before more seeds are given; None where there is none.
        race: Eliminates candidates on the way; None gives every one every seed.
    """

    def __init__(
        self,
        seeds: tuple[int, ...] | SeedPlan,
        candidates: Iterable[FinalConfig],
        *,
        base: RunSpec | None = None,
        race: Race | None = None,
    ) -> None:
        self.plan = seeds if isinstance(seeds, SeedPlan) else None
        self.candidates = {candidate.title: candidate for candidate in candidates}
        self._base_id = None if base is None else base.run_id
        self._given: dict[str, Job] = {}
        self._titles: dict[str, str] = {}
        self._records: dict[str, RunRecord] = {}
        self._num_looks = 0
        self._is_over = False
        self._race = race
        self._first = seeds.seeds[: seeds.first] if isinstance(seeds, SeedPlan) else seeds
        has_rounds = race is not None and len(self.candidates) > 1
        self._num_rounds = min(RACED_FROM, len(self._first)) if has_rounds else len(self._first)
        """Of the first seeds, those that all who are left were given."""
        self._droppable: frozenset[str] | None = None
        self._ids = {
            title: tuple(candidate.run(seed).run_id for seed in (self.plan.seeds if self.plan else self._first))
            for title, candidate in self.candidates.items()
            if race is not None
        }
        """Of the race: each candidate's runs of all seeds there may be, the first ones in front."""
        self._race_looks = [] if race is None else list(race.history.looks)
        """All that were taken, also of candidates that are not there any more: they spent their share."""
        self.eliminations = [] if race is None else self._decided(race)
        self._due = self._starts(self.candidates, self._first[: self._num_rounds])

    @property
    def num_runs(self) -> int:
        """Those that are known by now, and those of the first seeds that follow as things stand."""
        return len(self._given) + len(self.following())

    def due(self) -> list[Job]:
        """Starts that can be made now; each is given once."""
        if self._race is not None:
            self._go_on(self._race)
        awaited = {*self._given, self._base_id} - {None}
        is_open = not self._due and not self._is_over and self._num_rounds == len(self._first)
        if self.plan is not None and is_open and awaited <= self._records.keys():
            self._due = self._more(self.plan)
            self._is_over = not self._due
        given, self._due = self._due, []
        return given

    def upcoming(self) -> list[Job]:
        """Starts with the first seeds that follow, if nobody else is eliminated; none that was made before."""
        done = () if self._race is None else self._race.history.finished
        return [Job(run=run) for run in self.following() if run.run_id not in done]

    def following(self) -> list[RunSpec]:
        """Runs with the first seeds that follow, also those done before: a round may wait for one before it."""
        runs = [(title, self.candidates[title].run(seed))
                for seed in self._first[self._num_rounds :] for title in self.candidates]  # fmt: skip
        return [
            run
            for title, run in runs
            if run.run_id not in self._given
            and not self.candidates[title].is_refused
            and not self._was_spared(title, run.run_id)
        ]

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
                if (candidate.is_refused and title in self._titles.values()) or self._was_spared(title, run.run_id):
                    continue
                self._titles.setdefault(run.run_id, title)
                if run.run_id not in self._given:
                    self._given[run.run_id] = Job(run=run)
                    jobs.append(self._given[run.run_id])
        return jobs

    def _go_on(self, race: Race) -> None:
        """Of the race: the next rounds, as far as those before are complete."""
        has_more = self._num_rounds < len(self._first)
        if has_more and self._droppable is None and self._is_complete(1):
            self._droppable = race.droppable(self._of_rounds(1), self._titles)
            safe = [title for title in self.candidates if title not in self._droppable]
            self._due += self._starts(safe, self._first[self._num_rounds :])
        while self._num_rounds < len(self._first) and self._has_passed(race):
            self._due += self._starts(self.candidates, self._first[self._num_rounds : self._num_rounds + 1])
            self._num_rounds += 1

    def _has_passed(self, race: Race) -> bool:
        """Whether the round needs no look any more; one that can be taken is taken, unless this is but a reading."""
        unseen = [title for title in self._alive() if self._is_to_be_seen(title, race)]
        if not unseen:
            return True
        if self._droppable is None or not self._is_complete(self._num_rounds):
            return False
        among = self._droppable.intersection(unseen)
        if among and race.history.keep is not None:
            self._look(race, among, race.history.keep)
        return True

    def _is_to_be_seen(self, title: str, race: Race) -> bool:
        """Whether no look saw a candidate's runs of the round, and one of its later runs is still to be saved."""
        ids = self._ids[title][: len(self._first)]
        seen, later = ids[: self._num_rounds], ids[self._num_rounds :]
        has_all = all(run_id in race.history.finished for run_id in later)
        return not has_all and not any(look.covers(seen) for look in self._race_looks)

    def _look(self, race: Race, among: Collection[str], keep: Callable[[RaceLook], None]) -> None:
        """Take the look of the round, and keep what it decides."""
        records = self._of_rounds(self._num_rounds)
        raced = {title: self._ids[title][: self._num_rounds] for title in self._alive()}
        found = race.eliminated(records, self._titles, raced=raced, among=among, number=len(self._race_looks))
        if found is None:
            return
        protocols = Counter(record.quality_protocol for record in records if record.quality_protocol is not None)
        look = RaceLook(
            run_ids=tuple(run_id for ids in raced.values() for run_id in ids),
            eliminated=tuple(found),
            quality_protocol=max(protocols, key=lambda name: protocols[name], default=None),
        )
        self._race_looks.append(look)
        self.eliminations += found
        keep(look)

    def _decided(self, race: Race) -> list[Elimination]:
        """What earlier looks decided, but where the better one is gone, or all seeds were trained all the same."""
        found: dict[str, Elimination] = {}
        for look in self._race_looks:
            for each in look.eliminated:
                by = self._titles_of(each.by_run_ids)
                for title in self._titles_of(each.run_ids) if by else ():
                    spared = self._spared(title, each.run_ids)
                    if not all(race.history.has(run_id, look.quality_protocol) for run_id in spared):
                        found.setdefault(title, replace(each, method=title, by=by[0]))
        return list(found.values())

    def _titles_of(self, run_ids: Collection[str]) -> list[str]:
        """Candidates that have all these runs."""
        return [title for title, own in self._ids.items() if set(run_ids) <= set(own)]

    def _spared(self, title: str, run_ids: Collection[str]) -> list[str]:
        """What it saves to end a candidate after these runs: the other first seeds, or else those that may follow."""
        own = self._ids[title]
        first = [run_id for run_id in own[: len(self._first)] if run_id not in run_ids]
        return first or [run_id for run_id in own if run_id not in run_ids]

    def _alive(self) -> list[str]:
        out = {elimination.method for elimination in self.eliminations}
        return [title for title in self.candidates if title not in out]

    def _was_spared(self, title: str, run_id: str) -> bool:
        """Whether a run is one that a candidate's elimination saved."""
        return any(each.method == title and run_id not in each.run_ids for each in self.eliminations)

    def _is_complete(self, num_rounds: int) -> bool:
        """Whether all that were given so many of the first seeds have ended, and the base."""
        seeds = set(self._first[:num_rounds])
        awaited = {run_id for run_id, job in self._given.items() if job.run.seed in seeds} | {self._base_id} - {None}
        return awaited <= self._records.keys()

    def _of_rounds(self, num_rounds: int) -> list[RunRecord]:
        """Records of so many of the first seeds and of the base, in the order in which they were asked for."""
        seeds = set(self._first[:num_rounds])
        wanted = [self._base_id, *(run_id for run_id, job in self._given.items() if job.run.seed in seeds)]
        return [self._records[run_id] for run_id in wanted if run_id is not None]

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
        out = frozenset(elimination.method for elimination in self.eliminations)
        found = contenders_among(runs, examples_of(records), metric, base=BASE, plan=plan, eliminated=out)
        return tuple(title for title in found if title in self.candidates)
