"""Trackers are told everything, a step once, and can cost a study nothing but a warning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

import tracked_study
from peftscope.errors import MissingExtra, SpecError
from peftscope.execution import trackers
from peftscope.execution.trackers import TRACKERS, tracker_for
from peftscope.execution.trackers import tracker as tracker_module
from peftscope.execution.trackers.tracker import TrackedEnd, TrackedStart, Tracker
from tracked_study import PROJECT, RUNS, record, state

STRICT = ["-W", "error", *(f"-Wignore::{kind}Warning" for kind in ("Deprecation", "PendingDeprecation", "Future"))]
WORDS: dict[str, dict[str, Any]] = {
    "mlflow": {"ok": "FINISHED", "killed": "KILLED", "diverged": "FAILED", "refused": "FAILED"},
    "trackio": {},
    "wandb": {"ok": 0, "killed": 255, "diverged": 1, "refused": 1},
}


@pytest.fixture(scope="module", params=sorted(TRACKERS))
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """A tracker's name, and what it holds after a study; see ``tracked_study.tell``."""
    name = request.param
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install 'peftscope[{name}]'")
    folder = tmp_path_factory.mktemp(name)
    mine = ("MLFLOW_", "TRACKIO_", "WANDB_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(mine)}
    environment |= {"WANDB_MODE": "offline", "TRACKIO_DIR": str(folder / "trackio"), "HOME": str(folder)}
    command = [sys.executable, *STRICT, tracked_study.__file__, name]
    program = subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = program.communicate(timeout=200)
    assert program.returncode == 0, err[-2000:]
    left = [
        p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if str(program.pid) in (p.info["cmdline"] or [])
    ]
    return name, {**json.loads(out), "left": left, "stderr": err}


def _run(found: Mapping[str, Any], name: str, attempt: int = 1) -> dict[str, Any]:
    (run,) = (r for r in found["runs"] if r["tags"][0] == RUNS[name].run_id and r["attempt"] == str(attempt))
    return dict(run)


def test_a_tracker_logs_every_attempt_with_title_group_tags_and_settings(told: tuple[str, dict[str, Any]]) -> None:
    name, found = told
    assert len(found["runs"]) == 4
    for key, attempt in (("a", 1), ("a", 2), ("b", 1), ("c", 1)):
        run, spec = _run(found, key, attempt), RUNS[key]
        assert run["title"] == spec.title
        assert run["tags"] == [spec.run_id, spec.method.title, PROJECT]
        rank = run["config"]["train"]["max_steps"] if name == "wandb" else run["config"]["train.max_steps"]
        assert int(rank) == spec.train.max_steps
    assert _run(found, "a")["group"] == _run(found, "a", 2)["group"] == _run(found, "b")["group"] == "lora lr 0.001"


def test_a_tracker_logs_each_step_once_and_separates_concurrent_runs(told: tuple[str, dict[str, Any]]) -> None:
    _, found = told
    assert _run(found, "a")["loss"] == [[1, 98.0], [2, 99.0]]
    assert _run(found, "b")["loss"] == [[1, 99.0], [2, 100.0]]
    assert _run(found, "a", 2)["loss"] == [[1, 0.5]]
    assert _run(found, "b")["valid"] == [[2, 0.25]]
    assert _run(found, "a")["valid"] == _run(found, "c")["loss"] == []


def test_a_tracker_logs_metrics_status_and_reason_in_its_own_terms(told: tuple[str, dict[str, Any]]) -> None:
    name, found = told
    ended = {"ok": ("a", 2, None), "killed": ("a", 1, "ended by SIGKILL"), "diverged": ("b", 1, "loss is NaN")}
    for status, (key, attempt, reason) in {**ended, "refused": ("c", 1, "cannot run on this model")}.items():
        run = _run(found, key, attempt)
        assert (run["status"], run["reason"], run["word"]) == (status, reason, WORDS[name].get(status))
    assert _run(found, "a", 2)["final"] == {"test_score": 0.75, "num_trainable_params": 921_600}
    assert _run(found, "c")["final"] == {}


def test_a_tracker_gets_the_pictures_a_run_left(told: tuple[str, dict[str, Any]]) -> None:
    _, found = told
    assert _run(found, "a", 2)["pictures"] == ["a.png"]
    assert _run(found, "b")["pictures"] == _run(found, "a")["pictures"] == []


def test_a_local_tracker_is_offline_silent_and_leaves_no_process(told: tuple[str, dict[str, Any]]) -> None:
    _, found = told
    assert found["called"] == []
    assert found["stderr"] == ""
    assert found["left"] == []


class Broken(Tracker):
    """Fails when it is told a step, and notes what it was asked."""

    name = "broken"

    def __init__(self, error: Exception | None = None, gate: threading.Event | None = None, **more: Any) -> None:
        self.asked: list[str] = []
        self.error, self.gate = error, gate
        super().__init__(PROJECT, **more)

    def begin(self, start: TrackedStart) -> str:
        self.asked.append(f"begin {start.tags['attempt']}")
        return start.title

    def log(self, handle: str, step: int, values: Mapping[str, float]) -> None:
        self.asked.append(f"log {step}")
        if self.gate is not None:
            self.gate.wait(60)
        if self.error is not None:
            raise self.error

    def end(self, handle: str, outcome: TrackedEnd) -> None:
        self.asked.append(f"end {outcome.status}")

    def close(self) -> None:
        self.asked.append("close")


@pytest.mark.parametrize("error", [ConnectionError("server unreachable"), OSError(28, "No space left on device")])
def test_a_failing_tracker_warns_once_and_receives_no_more_events(error: Exception) -> None:
    warned: list[str] = []
    to = Broken(error, warn=warned.append)
    to.started(RUNS["a"], state("a"))
    for step in range(1, 4):
        to.moved(RUNS["a"], state("a", step=step, loss=1.0))
    to.ended(RUNS["a"], record("a", "ok"))
    to.closed()
    assert to.asked == ["begin 1", "log 1", "close"]
    assert len(warned) == 1
    assert "broken is switched off, the runs go on" in warned[0]
    assert str(error.args[-1]) in warned[0]


def test_by_default_a_failing_tracker_raises_a_python_warning() -> None:
    to = Broken(ConnectionError("server unreachable"))
    to.started(RUNS["a"], state("a"))

    def rest() -> None:
        to.moved(RUNS["a"], state("a", step=1, loss=1.0))
        to.closed()

    with pytest.warns(RuntimeWarning, match="server unreachable"):
        rest()


def test_a_hanging_tracker_delays_neither_the_runs_nor_the_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker_module, "PATIENCE_S", 0.05)
    warned: list[str] = []
    gate = threading.Event()
    to = Broken(gate=gate, warn=warned.append)
    to.started(RUNS["a"], state("a"))
    to.moved(RUNS["a"], state("a", step=1, loss=1.0))
    to.ended(RUNS["a"], record("a", "ok"))
    to.closed()
    gate.set()
    assert warned == ["broken is switched off, the runs go on: it has not taken everything after 0.05 s"]


def test_runs_without_a_recorded_end_are_logged_as_killed() -> None:
    to = Broken()
    to.started(RUNS["a"], state("a"))
    to.started(RUNS["a"], state("a", attempts=1))
    to.closed()
    assert to.asked == ["begin 1", "end killed", "begin 2", "end killed", "close"]


def test_an_unknown_tracker_is_refused_with_the_nearest_match() -> None:
    with pytest.raises(SpecError, match="unknown tracker 'wandbi'; did you mean 'wandb'"):
        tracker_for("wandbi", project=PROJECT)


@pytest.mark.parametrize("name", sorted(TRACKERS))
def test_a_tracker_that_is_not_installed_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MLFLOW_DISABLE_TELEMETRY", "WANDB_ERROR_REPORTING"):
        monkeypatch.setenv(variable, "true")  # monkeypatch takes away what the factory would leave
    found = trackers.import_module

    def absent(module: str) -> Any:
        if module == name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return found(module)

    monkeypatch.setattr(trackers, "import_module", absent)
    with pytest.raises(MissingExtra, match=rf"--track {name} needs {name}: pip install 'peftscope\[{name}\]'"):
        tracker_for(name, project=PROJECT)


def test_a_folder_with_a_trackers_name_is_not_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "untracked").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(trackers.TRACKERS, "untracked", trackers.TRACKERS["trackio"])
    with pytest.raises(MissingExtra, match="untracked"):
        tracker_for("untracked", project=PROJECT)


def test_no_tracker_is_imported_before_it_is_asked_for() -> None:
    names = tuple(TRACKERS)
    code = (
        "import sys; from peftscope.execution.trackers import to_mlflow, to_trackio, to_wandb;"
        f"print([m for m in {names!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
