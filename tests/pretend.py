"""Runs, states and records as a study leaves them, made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peftscope.schema.live import RunState
from peftscope.schema.record import Attempt, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec
from peftscope.store.files import write_record
from peftscope.store.run_states import write_state

__all__ = ["a_record", "a_run", "a_state", "a_study_folder"]


def a_run(method: str = "lora", *, label: str | None = None, seed: int = 0, rate: float | None = 3e-4) -> RunSpec:
    """A run; the base has no learning rate."""
    return RunSpec(
        model="m",
        task="math",
        method=MethodSpec(name=method, label=label),
        learning_rate=None if method == "base" else rate,
        seed=seed,
    )


def a_state(run: RunSpec, **fields: Any) -> RunState:
    """A run under way."""
    known: dict[str, Any] = {
        "worker": 0,
        "num_workers": 1,
        "num_attempts": 0,
        "started_at": "2026-01-01T00:00:00+00:00",
        "updated_at": "2026-01-01T00:00:30+00:00",
    }
    return RunState(run_id=run.run_id, title=run.title, **{**known, **fields})


def a_record(run: RunSpec, status: str = "ok", **fields: Any) -> RunRecord:
    """What a run leaves behind: a minute and a quarter long, 12 of 25 examples right."""
    reason = fields.pop("reason", None if status == "ok" else f"{status} for a reason")
    environment = fields.pop("environment", {"num_threads": 2})
    attempt = Attempt(
        started_at="2026-01-01T00:00:00+00:00",
        ended_at="2026-01-01T00:01:15+00:00",
        status=status,
        reason=reason,
        environment=environment,
        traceback=fields.pop("traceback", None),
        reached=fields.pop("reached", None),
    )
    metrics = {"test_score": 0.48, "total_time_s": 75.2} if status == "ok" else {"test_score": None}
    fields.setdefault("metrics", metrics)
    return RunRecord(run_id=run.run_id, spec=run, status=status, reason=reason, attempts=(attempt,), **fields)


def a_study_folder(folder: Path, *, records: list[RunRecord], states: list[RunState] | None = None) -> Path:
    """A study's folder with what it holds; its lock file lies there and nobody holds it."""
    for record in records:
        write_record(folder, record)
    for state in states or []:
        write_state(folder, state)
    (folder / ".lock").touch()
    return folder
