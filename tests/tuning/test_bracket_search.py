"""Tuning by an effort: equal offers, trials that follow from records alone, and finals on fresh seeds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from peftscope.schema.effort import EFFORTS
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import STOPPED, Attempt, CurvePoint, RunRecord
from peftscope.schema.study import StudySpec, TuningSpec
from peftscope.store.files import read_records, write_record
from peftscope.tuning.job import Job
from peftscope.tuning.progress import is_finished, replay, study_progress
from peftscope.tuning.scheduler import TunedScheduler, scheduler_for
from peftscope.tuning.search_space import MAX_KILLS

STEPS, RUNG = 100, 20
ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="all")
BEST = {"lora": 2e-3, "oft": 4e-5, "vera": 1e-3}
World = Callable[[Job], RunRecord]


def _study(**parts: object) -> StudySpec:
    given = {
        "name": "s",
        "model": "m",
        "task": "math",
        "methods": ["lora", "oft"],
        "tuning": {},
        "train": {"max_steps": STEPS},
    }
    return StudySpec.model_validate({**given, **parts})


def _loss(start: Job) -> float:
    rate, knobs = start.run.learning_rate, start.run.method.knobs
    assert rate is not None
    better = 0.3 if knobs.get("r") == 256 else 0.0
    return 1 - better + math.log10(rate / BEST[start.run.method.name]) ** 2 + 1e-3 * (start.run.seed % 7)


def _record(start: Job, *, status: str | None = None) -> RunRecord:
    """What a start leaves behind in a world with one valley for each method."""
    done = start.until or STEPS
    curve = ()
    if start.run.rungs and done >= RUNG:
        curve = (CurvePoint(step=RUNG, learning_rate=0, train_loss=1, valid_loss=_loss(start), train_time_s=1),)
    metrics: dict[str, float | int | None] = {"num_steps": done}
    if start.until is None and status is None and start.run.learning_rate is not None:
        metrics |= {"valid_loss": _loss(start), "valid_score": 1 / _loss(start)}
    return RunRecord(
        run_id=start.run.run_id,
        spec=start.run,
        status=status or ("eliminated" if start.until else "ok"),
        metric=ACCURACY,
        metrics=metrics,
        curve=curve,
    )


def _unfold(study: StudySpec, world: World, shuffle: int | None = None) -> tuple[TunedScheduler, list[Job]]:
    scheduler, made, order = scheduler_for(study), [], random.Random(shuffle)
    assert isinstance(scheduler, TunedScheduler)
    pending = scheduler.due()
    while pending:
        start = pending.pop(order.randrange(len(pending)) if shuffle is not None else 0)
        made.append(start)
        scheduler.tell(_base(start) if start.run.learning_rate is None else world(start))
        pending += scheduler.due()
    return scheduler, made


def _base(start: Job) -> RunRecord:
    return RunRecord(run_id=start.run.run_id, spec=start.run, status="ok", metric=ACCURACY, metrics={}, curve=())


def _steps(starts: list[Job]) -> int:
    return sum(start.num_steps for start in starts if start.run.purpose == "trial")


@pytest.mark.parametrize("effort", list(EFFORTS))
def test_every_method_is_bracketed_within_its_trial_budget(effort: str) -> None:
    scheduler, made = _unfold(_study(tuning={"effort": effort}), _record)
    offer = EFFORTS[effort]
    for tuning in scheduler.tunings():
        trials = [s for s in made if s.run.purpose == "trial" and s.run.method.title == tuning.method]
        assert len({s.run.run_id for s in trials if s.until is not None}) <= offer.num_short
        assert len({s.run.run_id for s in trials if s.until is None}) <= offer.num_full
        assert len({s.run.seed for s in trials}) == offer.num_seeds
        assert tuning.is_bracketed
        assert tuning.bracket[0] < tuning.learning_rate < tuning.bracket[1]  # type: ignore[operator]
        assert tuning.learning_rate == pytest.approx(BEST[tuning.method], rel=0.35)


def test_final_runs_use_the_chosen_rate_and_fresh_seeds() -> None:
    scheduler, made = _unfold(_study(), _record)
    finals = [s.run for s in made if s.run.purpose == "final" and s.run.learning_rate is not None]
    assert len(finals) == 6
    tuned = {t.method: t.learning_rate for t in scheduler.tunings()}
    assert all(run.learning_rate == tuned[run.method.title] for run in finals)
    assert not {r.seed for r in finals} & {s.run.seed for s in made if s.run.purpose == "trial"}


def test_the_best_short_trial_continues_from_its_rung() -> None:
    _, made = _unfold(_study(), _record)
    stages: dict[str, list[int | None]] = {}
    for start in made:
        if start.run.purpose == "trial":
            stages.setdefault(start.run.run_id, []).append(start.until)
    assert [RUNG, None] in stages.values()
    for start in made:
        if start.run.purpose == "trial" and stages[start.run.run_id] == [None]:
            assert start.num_steps == STEPS


@pytest.mark.parametrize("cut", range(1, 24, 3))
def test_a_resumed_study_ends_with_the_same_trials_and_choice(cut: int) -> None:
    study = _study()
    whole, made = _unfold(study, _record)
    records: dict[str, RunRecord] = {}
    scheduler = scheduler_for(study)
    pending = scheduler.due()
    for _ in range(cut):  # told in another order than they were given
        start = pending.pop()
        records[start.run.run_id] = _base(start) if start.run.learning_rate is None else _record(start)
        scheduler.tell(records[start.run.run_id])
        pending += scheduler.due()
    again = {start.run.run_id for start in study_progress(study, records).pending}
    assert again
    while pending := list(study_progress(study, records).pending):
        for start in pending:
            record = _base(start) if start.run.learning_rate is None else _record(start)
            assert start.is_reached_by(record)
            records[start.run.run_id] = record
    ended = study_progress(study, records)
    assert set(records) == {start.run.run_id for start in made}
    assert [t.learning_rate for t in ended.tunings] == [t.learning_rate for t in whole.tunings()]


@pytest.mark.parametrize("status", ["killed", "oom", "error"])
def test_a_trial_that_fails_after_a_rung_resumes_there(tmp_path: Path, status: str) -> None:
    """Written as a lost start is: without curve and figures."""
    _, made = _unfold(_study(), _record)
    lost = next(start for start in made if start.run.rungs and start.until is None)
    number = made.index(lost)
    before = [start for start in made[: number + 2] if start.run.run_id != lost.run.run_id]
    for start in before:
        write_record(tmp_path, _base(start) if start.run.learning_rate is None else _record(start))
    paused = _record(next(start for start in made if start.run.run_id == lost.run.run_id))
    attempts = tuple(Attempt(started_at="", ended_at="", status=each) for each in ("eliminated", status))
    write_record(tmp_path, paused.model_copy(update={"attempts": attempts[:1]}))
    for _ in range(MAX_KILLS + 1):
        gone = RunRecord(run_id=lost.run.run_id, spec=lost.run, status=status, attempts=attempts[1:])
        write_record(tmp_path, gone)
    records = {record.run_id: record for record in read_records(tmp_path)}
    assert records[lost.run.run_id].status == status
    assert records[lost.run.run_id].metrics["num_steps"]
    scheduler = scheduler_for(_study())
    _, pending = replay(scheduler, lambda job: _if_finished(records.get(job.run.run_id), job))
    assert lost in pending
    assert not [start for start in pending if start.run.run_id in records and start != lost]
    assert {run.run_id for run in study_progress(_study(), records).runs} >= records.keys()


def _if_finished(record: RunRecord | None, job: Job) -> RunRecord | None:
    return record if record is not None and is_finished(record, None, job) else None


@pytest.mark.parametrize("reason", STOPPED)
def test_a_trial_whose_study_was_stopped_is_not_given_up(reason: str) -> None:
    _, made = _unfold(_study(), _record)
    records = {start.run.run_id: _record(start) for start in made if start.run.learning_rate is not None}
    trial = next(start.run.run_id for start in made if start.run.purpose == "trial" and not start.run.rungs)
    attempt = Attempt(started_at="", ended_at="", status="killed", reason=f"{reason} (train, step 3 of 100)")
    stopped = {"status": "killed", "attempts": (attempt,) * MAX_KILLS, "curve": (), "metrics": {}}
    records[trial] = records[trial].model_copy(update=stopped)
    assert trial in {job.run.run_id for job in study_progress(_study(), records).pending}
    other = attempt.model_copy(update={"reason": "the process was ended by SIGSEGV"})
    records[trial] = records[trial].model_copy(update={"attempts": (other,) * MAX_KILLS})
    assert trial not in {job.run.run_id for job in study_progress(_study(), records).pending}


@pytest.mark.parametrize("shuffle", range(5))
def test_the_order_in_which_trials_end_does_not_change_the_tuning(shuffle: int) -> None:
    first = _unfold(_study(), _record)[0].tunings()
    assert _unfold(_study(), _record, shuffle)[0].tunings() == first


def test_settings_searched_beside_the_rate_share_its_trial_budget() -> None:
    study = _study(methods=["lora", {"name": "vera", "search": {"r": [64, 128, 256]}}])
    scheduler, made = _unfold(study, _record)
    tuning = next(t for t in scheduler.tunings() if t.method == "vera")
    assert tuning.chosen is not None
    assert tuning.chosen.knobs == {"r": 256}
    assert tuning.is_bracketed
    short = {s.run.run_id for s in made if s.run.method.title == "vera" and s.until is not None}
    assert len(short) <= EFFORTS["standard"].num_short
    finals = [s.run for s in made if s.run.purpose == "final" and s.run.method.title == "vera"]
    assert {run.method.knobs["r"] for run in finals} == {256}


def test_a_method_refused_in_its_first_trials_gets_no_more_trials() -> None:
    def world(start: Job) -> RunRecord:
        return _record(start, status="refused") if start.run.method.name == "oft" else _record(start)

    scheduler, made = _unfold(_study(), world)
    assert sum(s.run.method.name == "oft" and s.run.purpose == "trial" for s in made) == 3
    assert next(t for t in scheduler.tunings() if t.method == "oft").chosen is None


def test_a_trial_that_is_always_killed_counts_as_failed() -> None:
    def world(start: Job) -> RunRecord:
        rate = start.run.learning_rate
        return _record(start, status="killed") if rate is not None and rate > 2e-3 else _record(start)

    scheduler, made = _unfold(_study(methods=["lora"]), world)
    (tuning,) = scheduler.tunings()
    assert tuning.is_bracketed
    assert tuning.learning_rate is not None
    assert tuning.learning_rate < 2e-3
    kills = [s.run.run_id for s in made if (s.run.learning_rate or 0) > 2e-3 and s.run.purpose == "trial"]
    assert all(kills.count(run_id) >= 3 for run_id in kills)


def test_a_training_too_short_for_rungs_is_tuned_by_full_trials() -> None:
    def world(start: Job) -> RunRecord:
        assert start.until is None
        return _record(start)

    scheduler, _ = _unfold(_study(train={"max_steps": 1}), world)
    assert all(tuning.is_bracketed for tuning in scheduler.tunings())


def test_the_predicted_number_of_runs_converges_to_the_actual_number() -> None:
    scheduler = scheduler_for(_study())
    assert isinstance(scheduler, TunedScheduler)
    expected = scheduler.num_runs
    whole, made = _unfold(_study(), _record)
    runs = {start.run.run_id for start in made}
    assert whole.num_runs == len(runs)
    assert abs(expected - len(runs)) <= 6
    assert whole.upcoming() == []
    assert _steps(made) / STEPS / 2 == pytest.approx(EFFORTS["standard"].price, abs=1.5)


@pytest.mark.parametrize(
    ("tuning", "said"),
    [
        ({"effort": "standard", "trials": 4}, "take one of the two away"),
        ({"effort": "hard"}, "quick"),
        ({"rungs": []}, "first rung"),
        ({"seed": 0}, "scored on the seed it was tuned with"),
    ],
)
def test_unfair_tuning_settings_are_errors(tuning: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        _study(tuning=tuning)


def test_final_seeds_may_not_include_tuning_seeds_of_the_effort() -> None:
    assert TuningSpec().seeds == (1000, 1001)
    with pytest.raises(ValidationError, match="seed 1001 is the tuning's"):
        _study(seeds=[0, 1001])
    assert _study(seeds=[0, 1001], tuning={"effort": "quick"}).seeds == (0, 1001)


def test_a_search_starts_by_base_width_and_resumes_from_records() -> None:
    study = _study(methods=["lora"])
    narrow = scheduler_for(study, width=256)
    rates = {s.run.learning_rate for s in narrow.due() if s.run.learning_rate is not None}
    assert rates == {5.6e-4, 1.8e-3, 5.6e-3}
    unknown = {s.run.learning_rate for s in scheduler_for(study).due() if s.run.learning_rate is not None}
    assert unknown == {3.2e-5, 1e-4, 3.2e-4}
    base = next(s for s in scheduler_for(study, width=256).due() if s.run.learning_rate is None)
    record = _base(base).model_copy(update={"base_width": 256})
    pending = study_progress(study, {record.run_id: record}).pending
    assert {start.run.learning_rate for start in pending} == rates
