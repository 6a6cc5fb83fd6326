"""The time a study still takes is measured, and says when it is a lower bound."""

from __future__ import annotations

import subprocess
import sys

import pytest

from peftscope.execution.eta import Eta, remaining, wall_time
from peftscope.schema.live import RunState
from peftscope.schema.record import Attempt, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.tuning.job import Job


def _run(method: str = "lora", *, seed: int = 0) -> RunSpec:
    return RunSpec(model="m", task="math", method=method, learning_rate=None if method == "base" else 1e-4, seed=seed)


def _took(method: str, total_s: float | None, *, status: str = "ok", **metrics: float) -> RunRecord:
    run = _run(method)
    return RunRecord(run_id=run.run_id, spec=run, status=status, metrics={"total_time_s": total_s, **metrics})


def _state(run: RunSpec, **fields: object) -> RunState:
    known = {"worker": 0, "num_workers": 1, "num_attempts": 0, "started_at": "", "updated_at": ""}
    return RunState(run_id=run.run_id, title=run.title, **known, **fields)


def _left(**given: object) -> Eta | None:
    waiting = [Job(run=run) for run in given.pop("waiting", [])]  # type: ignore[attr-defined]
    return remaining(waiting=waiting, **{"under_way": [], "finished": [], "num_workers": 1, **given})


def test_there_is_no_estimate_before_anything_is_known() -> None:
    run = _run()
    assert _left(waiting=[run]) is None
    assert _left(under_way=[(run, _state(run, elapsed_s=30, stage="load"))], waiting=[_run(seed=1)]) is None


def test_a_study_that_is_done_takes_no_time() -> None:
    assert _left(finished=[_took("lora", 100)]) == Eta(seconds=0.0)


def test_before_any_run_finishes_the_estimate_is_a_lower_bound() -> None:
    run = _run()
    training = _state(run, elapsed_s=40, stage="train", step=10, max_steps=30, step_time_s=2.0)
    assert _left(under_way=[(run, training)]) == Eta(seconds=40.0, at_least=True)  # 20 steps of 2 s
    # one more like it takes the 40 s that have gone by and those 40 s, at least
    assert _left(under_way=[(run, training)], waiting=[_run(seed=1)]) == Eta(seconds=40.0 + 80.0, at_least=True)


def test_the_bases_short_run_does_not_distort_the_eta() -> None:
    base, run = _took("base", 20), _run()
    assert _left(waiting=[run], finished=[base]) == Eta(seconds=20.0, at_least=True)
    training = _state(run, elapsed_s=10, stage="train", step=5, max_steps=50, step_time_s=2.0)
    # 50 steps of 2 s and the 20 s of the base, of which 10 s have gone by
    assert _left(under_way=[(run, training)], finished=[base]) == Eta(seconds=110.0, at_least=True)
    done = [base, _took("lora", 200)]
    assert _left(waiting=[_run(seed=1), _run(seed=2)], finished=done) == Eta(seconds=400.0)


def test_an_upcoming_base_is_estimated_by_the_non_training_time() -> None:
    assert _left(waiting=[_run("base")], finished=[_took("lora", 200, train_time_s=150)]) == Eta(seconds=50.0)


def test_the_eta_uses_a_methods_own_time_or_the_mean() -> None:
    done = [_took("lora", 100), _took("lora", 120), _took("dora", 200)]
    assert _left(waiting=[_run("lora", seed=5)], finished=done) == Eta(seconds=110.0)
    assert _left(waiting=[_run("oft")], finished=done) == Eta(seconds=pytest.approx(140.0))


def test_runs_that_failed_do_not_shorten_the_estimate() -> None:
    done = [_took("lora", 100), _took("xlora", 0.3, status="refused"), _took("oft", 2, status="oom")]
    assert _left(waiting=[_run("oft", seed=1)], finished=done) == Eta(seconds=100.0)


def test_an_active_run_takes_the_remainder_of_its_methods_time() -> None:
    run = _run(seed=1)
    assert _left(under_way=[(run, _state(run, elapsed_s=30, stage="load"))], finished=[_took("lora", 100)]) == Eta(
        seconds=70.0
    )


def test_the_eta_of_a_slow_run_uses_its_own_steps() -> None:
    run = _run("dora")
    slow = _state(run, elapsed_s=90, stage="train", step=10, max_steps=50, step_time_s=5.0)
    assert _left(under_way=[(run, slow)], finished=[_took("lora", 100, eval_time_s=15)]) == Eta(seconds=215.0)


def test_an_overdue_run_makes_the_estimate_a_lower_bound() -> None:
    run = _run(seed=1)
    overdue = _state(run, elapsed_s=130, stage="score")
    assert _left(under_way=[(run, overdue)], finished=[_took("lora", 100)]) == Eta(seconds=0.0, at_least=True)


def test_workers_share_the_runs_as_they_become_free() -> None:
    first, second = _run(seed=1), _run(seed=2)
    under_way = [(first, _state(first, elapsed_s=90)), (second, _state(second, elapsed_s=50))]
    waiting = [_run(seed=3), _run(seed=4), _run(seed=5)]
    # free after 10 and 50 s; they end at 110, 150 and 210 s
    given = {"under_way": under_way, "waiting": waiting, "finished": [_took("lora", 100)]}
    assert _left(**given, num_workers=2) == Eta(seconds=210.0)
    assert _left(**given, num_workers=5) == Eta(seconds=100.0)


@pytest.mark.parametrize(
    ("started", "ended", "seconds"),
    [("2026-01-01T00:00:00+00:00", "2026-01-01T00:01:15+00:00", 75.0), ("", "", None), ("2026-01-01", "later", None)],
)
def test_unmeasured_run_times_are_taken_from_the_attempts(started: str, ended: str, seconds: float | None) -> None:
    attempt = Attempt(started_at=started, ended_at=ended, status="ok")
    again = attempt.model_copy(update={"kind": "rerun", "ended_at": "2027-01-01T00:00:00+00:00"})
    record = _took("lora", None).model_copy(update={"attempts": (attempt, again)})
    assert wall_time(record) == seconds
    assert wall_time(_took("lora", 12.5)) == 12.5


def test_the_estimate_needs_no_torch() -> None:
    code = "import sys, peftscope.execution.eta; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
