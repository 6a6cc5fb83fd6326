"""Tuning offers every method the same, decides by one rule, and says the same when it is told the same."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from peftscope.methods.catalog import card
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import Attempt, CurvePoint, RunRecord
from peftscope.schema.study import StudySpec, TuningSpec
from peftscope.tuning.job import Job
from peftscope.tuning.progress import is_finished, replay, study_progress
from peftscope.tuning.sampler import Point, draw, grid, next_rate
from peftscope.tuning.scheduler import TunedScheduler, rungs_of, scheduler_for
from peftscope.tuning.search import survivors
from peftscope.tuning.search_space import MAX_KILLS, SearchSpace

STEPS = 100
ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="all")
World = Callable[[Job], RunRecord]


def _study(**parts: object) -> StudySpec:
    given = {
        "name": "s",
        "model": "m",
        "task": "math",
        "methods": ["lora", "oft"],
        "tuning": {"trials": 4},
        "train": {"max_steps": STEPS},
    }
    return StudySpec.model_validate({**given, **parts})


def _loss(start: Job, step: int) -> float:
    """A landscape: the best rate is 1e-3 in the end, and a third of it before the decay."""
    best = 1e-3 * (1 / 3 if step < STEPS else 1)
    return 1 + math.log10((start.run.learning_rate or best) / best) ** 2


def _record(start: Job, *, status: str | None = None, reached: int | None = None) -> RunRecord:
    last = reached if reached is not None else start.until or STEPS
    stops = [step for step in (*start.run.rungs, STEPS) if step <= last]
    curve = tuple(
        CurvePoint(step=s, learning_rate=0, train_loss=1, valid_loss=_loss(start, s), train_time_s=1)
        for s in stops
        if s < STEPS
    )
    metrics: dict[str, float | int | None] = {"num_steps": last}
    if last == STEPS and status in (None, "ok"):
        metrics |= {"valid_loss": _loss(start, STEPS), "valid_score": 1 / _loss(start, STEPS)}
    return RunRecord(
        run_id=start.run.run_id,
        spec=start.run,
        status=status or ("eliminated" if start.until else "ok"),
        metric=ACCURACY,
        metrics=metrics,
        curve=curve,
    )


def _unfold(study: StudySpec, world: World = _record, *, shuffle: int | None = None) -> list[Job]:
    """All starts a study makes, in the order they are made."""
    scheduler, made, dice = scheduler_for(study), [], random.Random(shuffle)
    pending = scheduler.due()
    while pending:
        start = pending.pop(dice.randrange(len(pending)) if shuffle is not None else 0)
        made.append(start)
        scheduler.tell(world(start))
        pending += scheduler.due()
    return made


def _trials(starts: list[Job], method: str = "lora") -> dict[float, list[int | None]]:
    """Learning rate -> the stages a trial was started for."""
    found: dict[float, list[int | None]] = {}
    for start in starts:
        if start.run.purpose == "trial" and start.run.method.title == method:
            assert start.run.learning_rate is not None
            found.setdefault(start.run.learning_rate, []).append(start.until)
    return found


@pytest.mark.parametrize("trials", [1, 2, 3, 4, 5, 8, 12])
def test_every_method_gets_the_same_number_of_trials(trials: int) -> None:
    study = _study(
        methods=["lora", "oft", "ia3", {"name": "vera", "search": {"r": [64, 256]}}], tuning={"trials": trials}
    )
    starts = _unfold(study)
    for method in study.methods:
        ids = {s.run.run_id for s in starts if s.run.purpose == "trial" and s.run.method.title == method.title}
        assert len(ids) == trials, method.title


def test_four_trials_are_three_grid_points_and_one_follow_up() -> None:
    rate = card("lora").rate
    assert rate is not None
    rates = list(_trials(_unfold(_study())))
    first = grid(rate.low, rate.high, 4)
    assert rates[:3] == first
    assert rate.low < first[0] < first[1] < first[2] < rate.high
    assert rates[3] not in first
    # the landscape's best at the rung is 3.3e-4, between the second point and the third
    assert first[1] < rates[3] < first[2] or rates[3] > first[2]


def test_further_trials_extend_beyond_an_edge_or_refine_inside() -> None:
    falling = [Point(1e-4, 3.0), Point(1e-3, 2.0), Point(1e-2, 1.0)]
    assert next_rate(falling, 10).rate == pytest.approx(1e-1)
    assert next_rate([Point(p.rate, -p.loss) for p in falling], 10).rate == pytest.approx(1e-5)
    inside = next_rate([Point(1e-4, 3.0), Point(1e-3, 1.0), Point(1e-2, 2.0)], 10)
    assert inside.origin == "refinement"
    assert 1e-3 < inside.rate < 1e-2


def test_the_search_never_extends_beyond_a_failed_learning_rate() -> None:
    proposal = next_rate([Point(1e-4, 3.0), Point(1e-3, 1.0), Point(1e-2, math.inf)], 10)
    assert 1e-4 < proposal.rate < 1e-2
    assert next_rate([Point(1e-3, math.inf), Point(1e-2, math.inf)], 10).rate == pytest.approx(1e-4)


def test_the_best_rate_and_the_next_higher_one_survive_the_rung() -> None:
    assert survivors([(1e-4, 1.0), (1e-3, 2.0), (1e-2, 3.0), (1e-1, 9.0)]) == {0, 1}
    assert survivors([(1e-4, 0.5), (1e-3, 0.4), (1e-2, 9.0), (1e-5, 0.45)]) == {1, 2}
    assert survivors([(1e-4, 2.0), (1e-3, 1.0)]) == {1}


def test_the_final_best_rate_is_found_although_another_led_earlier() -> None:
    study = _study(tuning={"trials": 8})
    starts = _unfold(study)
    standing = study_progress(study, {s.run.run_id: _record(s) for s in starts})
    for tuning in standing.tunings:
        ended = [t for t in tuning.trials if t.valid_score is not None]
        at_rung = min((t for t in tuning.trials if t.rungs), key=lambda t: t.rungs[0][1])
        assert tuning.chosen is not None
        assert tuning.chosen.learning_rate > at_rung.learning_rate
        assert 1 < len(ended) < tuning.num_offered


def test_halving_takes_at_most_60_percent_of_the_full_grid_steps() -> None:
    def steps(study: StudySpec) -> int:
        return sum(start.num_steps for start in _unfold(study) if start.run.purpose == "trial")

    for trials in (4, 8):
        whole = steps(_study(tuning={"trials": trials, "rungs": []}))
        assert whole == 2 * trials * STEPS
        assert steps(_study(tuning={"trials": trials})) <= 0.6 * whole


def test_rungs_are_points_within_one_full_length_schedule() -> None:
    for start in _unfold(_study(tuning={"trials": 4, "rungs": [0.2, 0.5]})):
        assert start.run.train.max_steps == STEPS
        if start.run.purpose == "trial":
            assert start.run.rungs == (20, 50)
            assert start.until in (20, 50, None)
    assert rungs_of(TuningSpec(rungs=(0.2, 0.9)), 2) == (1,)  # no rung at the end, none twice


def test_final_runs_wait_for_frozen_configurations_and_use_fresh_seeds() -> None:
    starts = _unfold(_study(seeds=[0, 1, 2]))
    kinds = [start.run.purpose for start in starts if start.run.method.name != "base"]
    assert kinds.index("final") == kinds.count("trial")
    assert {s.run.seed for s in starts if s.run.purpose == "trial"} == {1000}
    finals = [s.run for s in starts if s.run.purpose == "final" and s.run.method.name == "lora"]
    assert [run.seed for run in finals] == [0, 1, 2]
    assert len({run.learning_rate for run in finals}) == 1
    assert finals[0].learning_rate in _trials(starts)


def test_the_order_in_which_runs_end_does_not_change_the_trials() -> None:
    study = _study(methods=["lora", "oft", "ia3"], tuning={"trials": 6})
    plain = _unfold(study)
    for seed in range(5):
        other = _unfold(study, shuffle=seed)
        assert {(s.run.run_id, s.until) for s in other} == {(s.run.run_id, s.until) for s in plain}


def test_an_interrupted_study_resumes_with_the_same_trials() -> None:
    study = _study()
    plain = _unfold(study)
    for stop in range(0, len(plain), 3):
        records: dict[str, RunRecord] = {}
        for start in plain[:stop]:
            records[start.run.run_id] = _record(start)
        scheduler = scheduler_for(study)

        def done(start: Job, records: dict[str, RunRecord] = records) -> RunRecord | None:
            record = records.get(start.run.run_id)
            return record if record is not None and start.is_reached_by(record) else None

        _, pending = replay(scheduler, done)
        while pending:
            start = pending.pop(0)
            records[start.run.run_id] = _record(start)
            scheduler.tell(records[start.run.run_id])
            _, more = replay(scheduler, done)
            pending += more
        assert set(records) == {start.run.run_id for start in plain}
        assert {i: r.status for i, r in records.items()} == {s.run.run_id: _record(s).status for s in plain}


def test_a_killed_trial_is_restarted_without_changing_the_search() -> None:
    killed: set[str] = set()

    def world(start: Job) -> RunRecord:
        if start.run.purpose == "trial" and start.run.run_id not in killed and len(killed) < 3:
            killed.add(start.run.run_id)
            return _record(start, status="killed", reached=3)
        return _record(start)

    study = _study()
    assert {s.run.run_id for s in _unfold(study, world)} == {s.run.run_id for s in _unfold(study)}
    assert len(killed) == 3


def test_a_trial_killed_too_often_does_not_hide_the_final_runs_from_a_reader() -> None:
    attempt = Attempt(started_at="", ended_at="", status="killed")

    def world(start: Job) -> RunRecord:
        if start.run.purpose == "trial" and (start.run.learning_rate or 0) > 2e-3:
            return _record(start, status="killed", reached=3)
        return _record(start)

    starts = _unfold(_study(), world)
    records = {start.run.run_id: world(start) for start in starts}
    killed = [i for i, record in records.items() if record.status == "killed"]
    assert killed
    once = study_progress(_study(), records)
    assert {job.run.run_id for job in once.pending} == set(killed)
    records |= {i: records[i].model_copy(update={"attempts": (attempt,) * MAX_KILLS}) for i in killed}
    standing = study_progress(_study(), records)
    assert not standing.pending
    assert {run.run_id for run in standing.runs} == set(records)


@pytest.mark.parametrize(
    ("earlier", "finished"),
    [((), False), (("oom",), False), (("refused", "killed"), False), (("oom", "refused"), True)],
)
def test_a_run_refused_on_a_prediction_is_run_again(earlier: tuple[str, ...], finished: bool) -> None:
    """Whatever it came to before; one that was tried and refused would be refused again."""
    start = _unfold(_study())[0]
    attempts = tuple(Attempt(started_at="", ended_at="", status=status) for status in earlier)
    record = RunRecord(run_id=start.run.run_id, spec=start.run, status="refused", attempts=attempts)
    assert is_finished(record, None, start) == finished


def test_a_trial_that_diverges_later_still_counts_at_its_rung() -> None:
    """Told later, as a second start does, its record says more than it did at the rung."""
    study = _study()

    def world(start: Job) -> RunRecord:
        high = (start.run.learning_rate or 0) > 4e-4 and start.run.purpose == "trial" and start.until is None
        return _record(start, status="diverged", reached=50) if high else _record(start)

    starts = _unfold(study, world)
    records = {start.run.run_id: world(start) for start in starts}
    standing = study_progress(study, records)
    assert not standing.pending
    assert {run.run_id for run in standing.runs} == set(records)


def test_a_best_rate_at_the_edge_of_the_range_is_flagged() -> None:
    def falling(start: Job) -> RunRecord:
        record = _record(start)
        loss = 1 / (start.run.learning_rate or 1)
        metrics = (
            {**record.metrics, "valid_loss": loss, "valid_score": 1 / loss} if record.status == "ok" else record.metrics
        )
        curve = tuple(replace(p, valid_loss=loss) for p in record.curve)
        return record.model_copy(update={"metrics": metrics, "curve": curve})

    study = _study()
    starts = _unfold(study, falling)
    tunings = study_progress(study, {s.run.run_id: falling(s) for s in starts}).tunings
    assert [t.edge for t in tunings] == ["highest", "highest"]
    starts = _unfold(study)
    assert study_progress(study, {s.run.run_id: _record(s) for s in starts}).tunings[0].edge != "lowest"


def test_a_method_refused_at_every_rate_costs_no_more_trials() -> None:
    def world(start: Job) -> RunRecord:
        return _record(start, status="refused", reached=0) if start.run.method.name == "oft" else _record(start)

    starts = _unfold(_study(), world)
    refused = [start for start in starts if start.run.method.name == "oft"]
    assert len([s for s in refused if s.run.purpose == "final"]) == 1
    assert len([s for s in starts if s.run.method.name == "lora" and s.run.purpose == "final"]) == 3


def test_the_predicted_number_of_runs_matches_the_actual_number() -> None:
    study = _study()
    scheduler = scheduler_for(study)
    assert isinstance(scheduler, TunedScheduler)
    assert scheduler.num_runs == 1 + 2 * 4 + 2 * 3
    pending, made = scheduler.due(), 0
    while pending:
        start = pending.pop(0)
        made += 1
        scheduler.tell(_record(start))
        pending += scheduler.due()
    assert scheduler.num_runs == 1 + 2 * 4 + 2 * 3
    assert scheduler.upcoming() == []


def test_sampled_settings_adapt_to_the_results_of_earlier_trials() -> None:
    space = SearchSpace(low=1e-5, high=1e-1, centre=1e-3, knobs={"r": [8, 16, 32, 64], "alpha": [1, 2, 4]})
    late: list[tuple[dict[str, Any], float]] = []
    for seed in range(5):
        tried: list[tuple[dict[str, Any], float]] = [({"learning_rate": 1e-3, "r": 8, "alpha": 1}, 3.0)]
        for _ in range(30):
            drawn = draw(space, tried, seed)
            assert space.low <= drawn["learning_rate"] <= space.high
            off = abs(math.log10(drawn["learning_rate"] / 1e-3))
            loss = math.inf if off > 1.5 else 1 + off + (drawn["r"] != 32) + (drawn["alpha"] != 4)
            tried.append((drawn, loss))
        assert draw(space, tried, seed) == draw(space, tried, seed)
        late += tried[-12:]
    assert sum(params["r"] == 32 and params["alpha"] == 4 for params, _ in late) >= 15, "5 by chance"
    assert sum(math.isinf(loss) for _, loss in late) <= 7, "15 by chance"


def test_a_search_over_the_rate_alone_does_not_need_optuna() -> None:
    code = (
        "import sys; from peftscope.schema.study import StudySpec\n"
        "from peftscope.tuning.scheduler import scheduler_for\n"
        "study = StudySpec.model_validate(dict(name='s', model='m', task='math', methods=['lora'],"
        " tuning={'trials': 4}, train={'max_steps': 10}))\n"
        "scheduler_for(study).due(); print('optuna' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"tuning": {"trials": 4, "seed": 1}, "seeds": [0, 1]}, "scored on the seed it was tuned with"),
        ({"methods": ["lora", {"name": "oft", "learning_rates": [1e-3]}]}, "learning_rates and tuning"),
        ({"tuning": None, "methods": ["lora", {"name": "oft", "learning_rates": [1e-3, 1e-2]}]}, "same number"),
        ({"tuning": None, "methods": [{"name": "lora", "search": {"r": [1, 2]}}]}, "'search' needs 'tuning'"),
        ({"methods": [{"name": "lora", "trials": 9}]}, "Extra inputs"),
        ({"tuning": {"rungs": [0.5, 0.2]}}, "rungs rise"),
    ],
)
def test_unequal_trial_budgets_and_reuse_of_the_tuning_seed_are_errors(parts: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _study(**parts)
