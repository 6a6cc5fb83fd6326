"""Which jobs of a study can be started now: all at once, or as its tuning unfolds.

A scheduler is given records, and the looks that a race took, and says which jobs can be started now. Given the same
again in the same order of offers it says the same, so that a study that was stopped goes on where it stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from peftscope.analysis.tuning import Tuning
from peftscope.methods.catalog import BASE, card
from peftscope.schema.elimination import Elimination
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec, StudySpec, TuningSpec
from peftscope.tuning.bracket_search import BracketSearch
from peftscope.tuning.expand import base_run, rates_of, run_of
from peftscope.tuning.final_runs import FinalConfig, FinalRuns
from peftscope.tuning.job import Job
from peftscope.tuning.racing import Race, RaceHistory
from peftscope.tuning.search import Search
from peftscope.tuning.search_space import SearchSpace

__all__ = [
    "FixedScheduler",
    "Scheduler",
    "TunedScheduler",
    "UntunedScheduler",
    "rungs_of",
    "scheduler_for",
]


class Scheduler(Protocol):
    """What is to be done, as far as what is done tells."""

    @property
    def num_runs(self) -> int:
        """Runs in all, those to come included."""

    def due(self) -> list[Job]:
        """Jobs that can be started now; each is given once."""

    def tell(self, record: RunRecord) -> None:
        """Take in what a job left behind."""

    def upcoming(self) -> list[Job]:
        """Jobs that will follow those given, as far as can be told; runs stand in for those not known yet."""


class AnySearch(Protocol):
    """The tuning of one method, by whatever rule."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be tried."""

    @property
    def is_refused(self) -> bool:
        """Whether the method does not fit the model."""

    @property
    def num_trials(self) -> int:
        """Trials that are known, and those that are likely to come."""

    def due(self) -> list[Job]:
        """Jobs that can be started now; each is given once."""

    def upcoming(self) -> list[Job]:
        """Starts that are likely to follow those given."""

    def tell(self, record: RunRecord) -> None:
        """Take in what a job left behind."""

    def result(self) -> Tuning:
        """What it came to so far."""


class FixedScheduler:
    """Starts that are known beforehand."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._due = list({job.run.run_id: job for job in jobs}.values())
        self.num_runs = len(self._due)

    def due(self) -> list[Job]:
        """All, once."""
        given, self._due = self._due, []
        return given

    def tell(self, record: RunRecord) -> None:
        """Nothing follows from it."""

    def upcoming(self) -> list[Job]:
        """Nothing follows."""
        return []


class UntunedScheduler:
    """The base and the final runs of a study without tuning, more of them where seeds go where they decide."""

    def __init__(self, study: StudySpec, *, history: RaceHistory) -> None:
        base = base_run(study)
        self._due = [Job(run=base)] if base is not None else []
        self._num_base = len(self._due)
        candidates = (_candidate(study, m, r) for m in study.methods if m.name != BASE for r in rates_of(m))
        self._finals = _final_runs(study, list(candidates), history)

    @property
    def num_runs(self) -> int:
        """The base, and the final runs known by now."""
        return self._num_base + self._finals.num_runs

    def due(self) -> list[Job]:
        """All at once, or as more seeds are needed."""
        base, self._due = self._due, []
        return base + self._finals.due()

    def tell(self, record: RunRecord) -> None:
        """More seeds may follow from it."""
        self._finals.tell(record)

    def upcoming(self) -> list[Job]:
        """Further rounds of a race; what more seeds follow nobody can tell."""
        return self._finals.upcoming()

    def following(self) -> list[RunSpec]:
        """Final runs of further rounds, also those that were done before."""
        return self._finals.following()

    @property
    def eliminations(self) -> Sequence[Elimination]:
        """Candidates that were eliminated on the way."""
        return self._finals.eliminations


class TunedScheduler:
    """Every method is tuned; when all configurations are frozen, each runs with fresh seeds.

    Args:
        study: With ``tuning``.
        higher_is_better: Direction of the task's score.
        width: Hidden size of the base, by which an effort's searches begin; None where it is not known.
        history: Of the race.
    """

    def __init__(
        self,
        study: StudySpec,
        *,
        higher_is_better: bool = True,
        width: int | None = None,
        history: RaceHistory,
    ) -> None:
        self._history = history
        assert study.tuning is not None, "a study without tuning has a fixed schedule"
        self.study, self.tuning = study, study.tuning
        self.methods = {m.title: m for m in study.methods if m.name != BASE}
        spaces = {title: space for title, method in self.methods.items() if (space := _space(method, width))}
        self.searches = _searches(study, self.methods, spaces, higher_is_better=higher_is_better)
        self._owners: dict[str, AnySearch] = {}
        self._finals: FinalRuns | None = None
        base = base_run(study)
        self._due = [Job(run=base)] if base is not None else []
        self._num_base = len(self._due)
        self._base_record: RunRecord | None = None

    @property
    def num_runs(self) -> int:
        """The base, all trials that are offered, all final runs."""
        trials = sum(search.num_trials for search in self.searches.values())
        expected = len(self.methods) * len(self.study.first_seeds)
        finals = expected if self._finals is None else self._finals.num_runs
        return self._num_base + trials + finals

    def due(self) -> list[Job]:
        """The base and trials; final runs once every configuration is frozen."""
        given, self._due = self._due, []
        for search in self.searches.values():
            for job in search.due():
                self._owners[job.run.run_id] = search
                given.append(job)
        if self._finals is None and all(search.is_over for search in self.searches.values()) and not given:
            results = (search.result() for search in self.searches.values())
            spared = frozenset(result.method for result in results if result.edge is not None)
            self._finals = _final_runs(self.study, self._frozen(), self._history, spared)
            if self._base_record is not None:
                self._finals.tell(self._base_record)
        if self._finals is not None:
            given += self._finals.due()
        return given

    def tell(self, record: RunRecord) -> None:
        """Pass a trial's record to its search, that of a final run to those."""
        owner = self._owners.get(record.run_id)
        if owner is not None:
            owner.tell(record)
        elif self._finals is not None:
            self._finals.tell(record)
        elif record.spec.method.name == BASE:
            self._base_record = record

    def upcoming(self) -> list[Job]:
        """Trials that follow, those that go on from the next rung, and final runs."""
        jobs = [job for search in self.searches.values() for job in search.upcoming()]
        if self._finals is not None:
            return jobs + self._finals.upcoming()
        return jobs + [
            Job(run=run_of(self.study, method, _default_rate(method), seed))
            for seed in self.study.first_seeds
            for method in self.methods.values()
        ]

    def following(self) -> list[RunSpec]:
        """Final runs of further rounds, also those that were done before; none where a configuration is not frozen."""
        return [] if self._finals is None else self._finals.following()

    @property
    def eliminations(self) -> Sequence[Elimination]:
        """Candidates that were eliminated on the way."""
        return () if self._finals is None else self._finals.eliminations

    def tunings(self) -> list[Tuning]:
        """What tuning came to so far, a method each."""
        return [search.result() for search in self.searches.values()]

    def _frozen(self) -> list[FinalConfig]:
        """Every method whose configuration is frozen, and those that fit no model."""
        found = []
        for title, method in self.methods.items():
            search = self.searches.get(title)
            tuned = search.result() if search is not None else None
            if tuned is not None and tuned.chosen is not None:
                frozen = method.model_copy(update={"knobs": {**method.knobs, **tuned.chosen.knobs}})
                found.append(replace(_candidate(self.study, frozen, tuned.learning_rate), title=title))
            elif search is None or search.is_refused:
                refused = _candidate(self.study, method, _default_rate(method))
                found.append(replace(refused, title=title, is_refused=True))
        return found


def scheduler_for(
    study: StudySpec,
    *,
    higher_is_better: bool = True,
    width: int | None = None,
    history: RaceHistory | None = None,
) -> UntunedScheduler | TunedScheduler:
    """The scheduler of a study.

    Args:
        study: The study.
        higher_is_better: Direction of the task's score.
        width: Hidden size of the base; None where it is not known.
        history: What earlier starts left of its race; None where there was none and no look is to be taken.

    Raises:
        SpecError: A method is not known.
    """
    history = history or RaceHistory()
    if study.tuning is None:
        return UntunedScheduler(study, history=history)
    return TunedScheduler(study, higher_is_better=higher_is_better, width=width, history=history)


def _final_runs(
    study: StudySpec,
    candidates: Sequence[FinalConfig],
    history: RaceHistory,
    spared: frozenset[str] = frozenset(),
) -> FinalRuns:
    """The final runs of a study, with its race where it has one."""
    race = None
    if study.race:  # also where no look can be taken: what earlier ones decided holds
        cards = {c.title: c.run(study.first_seeds[0]).method.name for c in candidates}
        race = Race(cards=cards, spared=spared, history=history)
    return FinalRuns(study.seeds, candidates, base=base_run(study), race=race)


def rungs_of(tuning: TuningSpec, max_steps: int) -> tuple[int, ...]:
    """Steps at which trials are compared: whole steps, each once, before the last.

    >>> rungs_of(TuningSpec(rungs=(0.2, 0.5)), 80)
    (16, 40)
    """
    steps = sorted({max(1, round(share * max_steps)) for share in tuning.rungs})
    return tuple(step for step in steps if step < max_steps)


def _searches(
    study: StudySpec,
    methods: Mapping[str, MethodSpec],
    spaces: Mapping[str, SearchSpace],
    *,
    higher_is_better: bool,
) -> dict[str, AnySearch]:
    """A search for each method that trains, by the study's effort or its number of trials."""
    tuning = study.tuning
    assert tuning is not None
    if tuning.protocol is not None:
        return {
            title: BracketSearch(
                title, space, tuning, partial(_trial_of, study, methods[title]), higher_is_better=higher_is_better
            )
            for title, space in spaces.items()
        }
    return {
        title: Search(
            title,
            space,
            tuning,
            partial(_trial_of, study, methods[title], seed=tuning.seed),
            higher_is_better=higher_is_better,
        )
        for title, space in spaces.items()
    }


def _space(method: MethodSpec, width: int | None) -> SearchSpace | None:
    """What is searched of a method; None where it is not trained."""
    rate = card(method.name).rate
    if rate is None:
        return None
    return SearchSpace(low=rate.low, high=rate.high, centre=rate.centre(width), knobs=method.search)


def _trial_of(
    study: StudySpec, method: MethodSpec, rate: float, knobs: Mapping[str, Any], seed: int, *, has_rungs: bool = True
) -> RunSpec:
    """A trial's run: validated at the study's rungs, or at the end alone."""
    assert study.tuning is not None
    tried = method.model_copy(update={"knobs": {**method.knobs, **knobs}})
    rungs = rungs_of(study.tuning, study.train.max_steps) if has_rungs else ()
    return run_of(study, tried, rate, seed).model_copy(update={"purpose": "trial", "rungs": rungs})


def _candidate(study: StudySpec, method: MethodSpec, rate: float | None) -> FinalConfig:
    """Final runs of one method at one learning rate."""
    several = method.learning_rates is not None and len(method.learning_rates) > 1
    title = f"{method.title} lr {rate:g}" if several else method.title
    return FinalConfig(title=title, run=partial(run_of, study, method, rate))


def _default_rate(method: MethodSpec) -> float | None:
    rate = card(method.name).rate
    return rate.default if rate is not None else None
