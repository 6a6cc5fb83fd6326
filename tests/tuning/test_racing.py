"""Promises about a race: rounds, looks that are taken once and hold, and nothing lost without one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from peftscope.analysis import contenders
from peftscope.analysis.looks import TrainedMethods
from peftscope.schema.elimination import RaceLook
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import ExampleOutcome, RunRecord, Status
from peftscope.schema.run import RunSpec
from peftscope.schema.seeds import race_share
from peftscope.schema.study import StudySpec
from peftscope.tuning.job import Job
from peftscope.tuning.progress import StudyProgress, finished_runs, is_finished, replay, study_progress
from peftscope.tuning.racing import RaceHistory, races
from peftscope.tuning.scheduler import UntunedScheduler, scheduler_for

ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="all problems")
SHARES = {"base": 0.05, "lora": 0.60, "rslora": 0.58, "dora": 0.2, "oft": 0.8, "hra": 0.1}
PRICES = {"lora": 1.0, "rslora": 1.05, "dora": 1.3, "oft": 0.8, "hra": 2.0}
STUDY: dict[str, Any] = {
    "name": "race", "model": "builtin:nano-lm", "task": "math", "methods": ["lora", "rslora", "dora"],
    "seeds": [0, 1, 2, 3],
}  # fmt: skip
Broken = Mapping[tuple[str, int], Status]
"""How runs of a method and a seed end that do not end well."""


def _study(**fields: Any) -> StudySpec:
    return StudySpec.model_validate({**STUDY, **fields})


def _record(run: RunSpec) -> RunRecord:
    name = run.method.name
    draw = np.random.default_rng([run.seed, *name.encode()])
    right = np.random.default_rng(0).random(200) < SHARES[name] + 0.01 * draw.standard_normal()
    metrics: dict[str, float | int | None] = {"test_score": float(right.mean())}
    if name in PRICES:
        metrics |= {
            "peak_train_memory_bytes": 1e9 * PRICES[name],
            "checkpoint_bytes": 1e7 * PRICES[name],
            "train_time_s": 60.0 * PRICES[name] * (1.0 + 0.01 * draw.standard_normal()),
        }
    examples = tuple(ExampleOutcome(example_id=str(i), score=float(r)) for i, r in enumerate(right))
    return RunRecord(
        run_id=run.run_id, spec=run, status="ok", metric=ACCURACY, examples=examples, metrics=metrics,
        cost_protocol="one machine",
    )  # fmt: skip


@dataclass
class _Folder:
    """What a study leaves behind."""

    records: dict[str, RunRecord] = field(default_factory=dict)
    looks: list[RaceLook] = field(default_factory=list)

    def work_off(self, study: StudySpec, order: int = 0, broken: Broken | None = None) -> None:
        """Make all runs that are missing, those that are due together ending in some order, some of them badly."""
        history = RaceHistory(
            looks=tuple(self.looks), finished=finished_runs(self.records.values()), keep=self.looks.append
        )
        scheduler, draw = scheduler_for(study, history=history), np.random.default_rng(order)
        self.scheduler = scheduler

        def due() -> list[RunSpec]:
            return [job.run for job in replay(scheduler, self._done)[1]]

        under_way = due()
        while under_way:
            run = under_way.pop(int(draw.integers(len(under_way))) if order else 0)
            record = _record(run)
            status = (broken or {}).get((run.method.name, run.seed))
            if status is not None:
                record = RunRecord(run_id=run.run_id, spec=run, status=status, reason="somebody's doing")
            self.records[run.run_id] = record
            scheduler.tell(record)
            under_way += due()

    def _done(self, job: Job) -> RunRecord | None:
        record = self.records.get(job.run.run_id)
        return record if record is not None and is_finished(record, None, job) else None

    def standing(self, study: StudySpec) -> StudyProgress:
        """As whoever reads it finds it."""
        return study_progress(study, self.records, self.looks)

    def eliminated(self, study: StudySpec) -> list[tuple[str, int]]:
        return [(found.method, found.num_seeds) for found in self.standing(study).eliminations]

    def seeds(self) -> dict[str, int]:
        names = [record.spec.method.name for record in self.records.values()]
        return {name: names.count(name) for name in dict.fromkeys(names)}


def _run_id(folder: _Folder, name: str, seed: int) -> str:
    return next(i for i, r in folder.records.items() if (r.spec.method.name, r.spec.seed) == (name, seed))


def _worked_off(study: StudySpec, order: int = 0, broken: Broken | None = None) -> _Folder:
    folder = _Folder()
    folder.work_off(study, order, broken)
    return folder


def test_a_dominated_method_ends_after_two_seeds() -> None:
    study = _study()
    folder = _worked_off(study)
    assert folder.seeds() == {"base": 1, "lora": 4, "rslora": 4, "dora": 2}
    (found,) = folder.standing(study).eliminations
    assert (found.method, found.num_seeds) == ("dora", 2)
    assert [worse.metric.limit for worse in found.worse[1:]] == ["memory", "checkpoint", "time"]
    assert [folder.records[run_id].spec.seed for run_id in found.run_ids] == [0, 1]


def test_without_a_race_every_method_has_every_seed() -> None:
    study = _study(race=False)
    folder = _worked_off(study)
    assert folder.seeds() == {"base": 1, "lora": 4, "rslora": 4, "dora": 4}
    assert not folder.eliminated(study)


def test_a_later_study_without_a_race_asks_for_the_missing_runs() -> None:
    missing = _worked_off(_study()).standing(_study(race=False)).pending
    assert [(job.run.method.name, job.run.seed) for job in missing] == [("dora", 2), ("dora", 3)]


@pytest.mark.parametrize("raced_first", [False, True])
def test_a_method_that_has_all_its_seeds_is_not_eliminated_by_a_later_race(raced_first: bool) -> None:
    folder = _worked_off(_study(race=raced_first))
    folder.work_off(_study(race=False))
    before = dict(folder.records)
    folder.work_off(_study())
    assert folder.records == before
    assert folder.eliminated(_study()) == []
    assert len(folder.standing(_study()).runs) == 13


def test_more_seeds_leave_who_was_eliminated_out() -> None:
    longer = _study(seeds=[0, 1, 2, 3, 4, 5])
    folder = _worked_off(_study())
    assert {job.run.method.name for job in folder.standing(longer).pending} == {"lora", "rslora"}
    folder.work_off(longer)
    assert folder.seeds()["dora"] == 2
    assert folder.eliminated(longer) == [("dora", 2)]


def test_a_method_added_to_a_finished_study_brings_nobody_back_and_ends_nobody() -> None:
    folder = _worked_off(_study())
    num_looks = len(folder.looks)
    longer = _study(methods=["lora", "rslora", "dora", "oft", "hra"])  # oft beats all on everything, all beat hra
    folder.work_off(longer)
    assert folder.seeds() == {"base": 1, "lora": 4, "rslora": 4, "dora": 2, "oft": 4, "hra": 2}
    assert folder.eliminated(longer) == [("dora", 2), ("hra", 2)]
    assert [found.method for look in folder.looks[num_looks:] for found in look.eliminated] == ["hra"]


def test_a_look_that_comes_later_spends_what_earlier_ones_left(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, spent = _worked_off(_study()), []
    monkeypatch.setattr("peftscope.tuning.racing.race_share", lambda number: spent.append(number) or race_share(number))
    num_looks = len(folder.looks)
    folder.work_off(_study(methods=["lora", "rslora", "dora", "hra"]))
    assert spent == list(range(num_looks, len(folder.looks)))
    assert spent


@pytest.mark.parametrize("change", ["removed", "other rate"])
def test_an_elimination_ends_with_the_better_method_in_the_study(change: str) -> None:
    folder = _worked_off(_study())
    (found,) = folder.standing(_study()).eliminations
    others = [name for name in ("lora", "rslora", "dora") if name != found.by]
    changed = _study(methods=others + [{"name": found.by, "learning_rates": [3e-5]}] * (change == "other rate"))
    standing = folder.standing(changed)
    to_come = [*standing.pending, *standing.scheduler.upcoming()]
    assert not standing.eliminations
    assert ("dora", 2) in {(job.run.method.name, job.run.seed) for job in to_come}


def test_both_methods_of_an_elimination_are_told_by_their_new_names() -> None:
    one, two = (_study(methods=[{"name": name, "learning_rates": rates} for name in ("lora", "dora")])
                for rates in ([1e-4], [1e-4, 1e-3]))  # fmt: skip
    (found,) = _worked_off(one).standing(two).eliminations
    assert (found.method, found.by) == ("dora lr 0.0001", "lora lr 0.0001")


def test_looks_of_methods_that_are_gone_have_spent_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, spent = _worked_off(_study()), []
    monkeypatch.setattr("peftscope.tuning.racing.race_share", lambda number: spent.append(number) or race_share(number))
    num_looks = len(folder.looks)
    folder.work_off(_study(methods=["oft", "hra"]))
    assert spent[0] == num_looks


@pytest.mark.parametrize("first_lost", [0, 1])
def test_a_study_whose_runs_failed_races_when_they_are_made_again(first_lost: int) -> None:
    lost = {(name, seed): "error" for name in PRICES for seed in range(first_lost, 4)}
    folder = _worked_off(_study(), broken=lost)
    assert not folder.looks
    folder.work_off(_study())
    assert folder.eliminated(_study()) == [("dora", 2)]


def test_later_seeds_that_were_killed_or_are_not_all_there_bring_nobody_back() -> None:
    folder = _worked_off(_study())
    folder.work_off(_study(race=False), broken={("dora", 3): "killed"})
    assert folder.seeds()["dora"] == 4
    assert folder.eliminated(_study()) == [("dora", 2)]
    folder.work_off(_study())
    assert [found.method for found in folder.scheduler.eliminations] == ["dora"]
    assert folder.records[_run_id(folder, "dora", 3)].status == "killed"
    folder.work_off(_study(race=False))
    assert folder.eliminated(_study()) == []


def test_a_seed_put_in_front_brings_nobody_back() -> None:
    folder, longer = _worked_off(_study()), _study(seeds=[7, 0, 1, 2, 3])
    assert "dora" not in {job.run.method.name for job in folder.standing(longer).pending}
    folder.work_off(longer)
    assert folder.seeds()["dora"] == 2
    assert folder.eliminated(longer) == [("dora", 2)]


@pytest.mark.parametrize("seeds", [{"first": 2, "most": 6}, {"first": 3, "most": 6}, {"first": 4, "most": 6}])
def test_seeds_in_another_form_bring_nobody_back(seeds: dict[str, int]) -> None:
    folder, grown = _worked_off(_study()), _study(seeds=seeds)
    assert "dora" not in {job.run.method.name for job in folder.standing(grown).pending}
    folder.work_off(grown)
    assert folder.seeds()["dora"] == 2
    assert folder.eliminated(grown) == [("dora", 2)]


def test_a_study_shortened_to_the_seeds_of_a_look_has_all_of_them() -> None:
    assert _worked_off(_study()).eliminated(_study(seeds=[0, 1])) == []


def test_a_method_alone_is_given_all_seeds_at_once() -> None:
    assert {job.run.seed for job in scheduler_for(_study(methods=["lora"])).due()} == {0, 1, 2, 3}


@pytest.mark.parametrize("order", [1, 2, 3])
def test_which_run_ended_first_decides_nothing(order: int) -> None:
    assert _worked_off(_study(), order).records.keys() == _worked_off(_study()).records.keys()


def test_a_study_stopped_at_any_point_resumes_with_the_same_runs() -> None:
    study = _study()
    whole = _worked_off(study)
    for at_most in range(len(whole.records)):
        stopped = _Folder(dict(list(whole.records.items())[:at_most]))
        assert stopped.standing(study).pending
        stopped.work_off(study)
        assert stopped.records.keys() == whole.records.keys()
        assert stopped.eliminated(study) == [("dora", 2)]
    assert not whole.standing(study).pending


@pytest.mark.parametrize("status", ["killed", "oom", "error"])
@pytest.mark.parametrize("broken", [[("lora", 0)], [("rslora", 1)], [("lora", 1), ("rslora", 1)], [("dora", 1)]])
def test_a_run_that_failed_changes_no_elimination_when_read_or_made_again(
    broken: Collection[tuple[str, int]], status: Status
) -> None:
    study = _study()
    folder = _worked_off(study, broken=dict.fromkeys(broken, status))
    live = [(found.method, found.num_seeds) for found in folder.scheduler.eliminations]
    assert folder.eliminated(study) == live
    assert {run.run_id for run in folder.standing(study).runs} == folder.records.keys()
    ids = folder.records.keys() | set()
    folder.work_off(study)
    assert folder.eliminated(study) == live
    assert folder.records.keys() == ids
    assert all(record.status == "ok" for record in folder.records.values())


def test_an_elimination_counts_the_seeds_of_the_look_and_not_those_with_a_score() -> None:
    folder = _worked_off(_study(), broken={("dora", 1): "killed"})
    assert folder.eliminated(_study()) == [("dora", folder.seeds()["dora"])]


def test_whoever_only_reads_takes_no_look() -> None:
    folder = _worked_off(_study(race=False))
    early = {i: record for i, record in folder.records.items() if record.spec.seed < 2}
    standing = study_progress(_study(), early)
    assert not standing.eliminations
    assert ("dora", 2) in {(job.run.method.name, job.run.seed) for job in standing.pending}


def test_runs_that_were_made_ahead_are_not_upcoming_but_of_the_study() -> None:
    study = _study(methods=["lora", "rslora", "dora"])
    folder = _worked_off(study)
    again = _run_id(folder, "dora", 1)
    folder.looks.clear()
    del folder.records[again]
    standing = folder.standing(study)
    upcoming = {(job.run.method.name, job.run.seed) for job in standing.scheduler.upcoming()}
    assert {("rslora", 2), ("rslora", 3)}.isdisjoint(upcoming)
    assert ("dora", 2) in upcoming
    assert {*folder.records, again} == {run.run_id for run in standing.runs}
    assert standing.scheduler.num_runs == 13


def test_methods_that_nothing_can_dominate_wait_for_no_round() -> None:
    scheduler = scheduler_for(_study())
    first = scheduler.due()
    assert {job.run.seed for job in first} == {0, 1}
    for job in first:
        if job.run.seed == 0:
            scheduler.tell(_record(job.run))
    assert [(job.run.method.name, job.run.seed) for job in scheduler.due()] == [("lora", 2), ("lora", 3)]


def test_cancelled_runs_are_in_no_count() -> None:
    study = _study()
    scheduler = scheduler_for(study, history=RaceHistory(keep=[].append))
    assert isinstance(scheduler, UntunedScheduler)
    assert scheduler.num_runs == 13
    for record in _worked_off(study).records.values():
        scheduler.due()
        scheduler.tell(record)
    assert scheduler.num_runs == 11
    assert not scheduler.upcoming()


def test_seeds_that_grow_go_to_nobody_eliminated() -> None:
    found = _worked_off(_study(seeds={"first": 3, "most": 5})).seeds()
    assert found["dora"] == 2
    assert found["lora"] >= 3


def test_seeds_that_grow_are_corrected_over_eliminated_methods_like_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[TrainedMethods] = []
    true = contenders.contenders

    def noting(trained: TrainedMethods, *given: Any, **more: Any) -> tuple[str, ...]:
        asked.append(trained)
        return true(trained, *given, **more)

    monkeypatch.setattr(contenders, "contenders", noting)
    _worked_off(_study(seeds={"first": 3, "most": 5}))
    assert asked
    assert all(trained.eliminated == {"dora"} and "dora" in trained.trainings for trained in asked)


@pytest.mark.parametrize(
    "fields", [{"seeds": [0, 1]}, {"methods": ["lora"]}, {"methods": ["lora", "base"]}, {"race": False}]
)
def test_there_is_no_race_with_nothing_to_save(fields: dict[str, Any]) -> None:
    assert not races(_study(**fields))


def test_one_method_at_two_learning_rates_is_a_race() -> None:
    assert races(_study(methods=[{"name": "lora", "learning_rates": [1e-4, 1e-3]}]))
