"""Another terminal sees where a study stands, whatever has become of the process that runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from peftscope.execution.status import is_locked, read_status
from peftscope.schema.record import STOPPED_BY_USER
from peftscope.schema.run import RunSpec
from peftscope.schema.study import StudySpec
from peftscope.tuning.expand import expand
from pretend import a_record, a_run, a_state, a_study_folder

STUDY = StudySpec(
    name="demo",
    model="m",
    task="math",
    methods=("lora", {"name": "dora", "label": "mine [red] [/]\x1b[2J"}, "oft"),
    seeds=(0, 1),
)
RUNS: list[RunSpec] = expand(STUDY)
"""The base, then three methods with seed 0, then with seed 1."""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def columns() -> int:
    """Width of the terminal."""
    return 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One run done, one refused, one under way at step 12 in its second attempt, four to do."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    training = {"stage": "train", "step": 12, "max_steps": 32, "loss": 1.25, "step_time_s": 2.0, "elapsed_s": 44.0}
    folder = a_study_folder(
        tmp_path / "results" / "demo",
        records=[a_record(RUNS[0]), a_record(RUNS[1], "refused"), a_record(RUNS[2], "killed")],
        states=[a_state(RUNS[2], **training, num_attempts=1, updated_at=now)],
    )
    (folder / "study.json").write_text(STUDY.model_dump_json())
    (tmp_path / "study.yaml").write_text("name: demo\n")
    return folder


def _standings(document: dict[str, Any]) -> list[str]:
    return [run["status"] for run in document["runs"]]


def test_a_running_study_shows_every_run_and_its_eta(call: Call, folder: Path) -> None:
    with FileLock(folder / ".lock"):
        code, out, _ = call("status", "study.yaml")
        _, text, _ = call("status", str(folder), "--json")
        assert is_locked(folder / ".lock")
    assert code == 1  # one was refused, which is worth looking at
    lines = out.splitlines()
    assert lines[0].startswith("demo: 1 done · 1 running · 1 failed · 4 to do · ETA over ")
    assert lines[1] == "a process runs it now"
    (row,) = [line for line in lines if line.startswith("mine") and "seed 0" in line]
    assert row.split()[-5:] == ["train", "12/32", "1.250", row.split()[-2], "2"]
    assert "refused for a reason" in out
    assert "\x1b[2J" not in out
    document = json.loads(text)
    assert document["schema"] == "peftscope.status/1"
    assert document["is_running"] is True
    assert _standings(document) == ["ok", "refused", "running", *["to do"] * 4]
    under_way = document["runs"][2]
    assert (under_way["step"], under_way["max_steps"], under_way["num_attempts"]) == (12, 32, 2)
    # a run takes its 32 steps of 2 s and what the base took: five of them, of which 44 s have gone by
    assert document["eta_s"] == pytest.approx(5 * (64 + 75.2) - 44, abs=5)
    assert document["eta_at_least"] is True
    mine = document["summary"][2]
    assert (mine["num_running"], mine["num_waiting"], mine["num_failed"]) == (1, 1, 0)


def test_a_run_whose_process_died_is_shown_lost_and_rerunnable(call: Call, folder: Path) -> None:
    code, out, _ = call("status", "results/demo")
    assert code == 1
    assert "no process runs it now; 'peftscope compare' resumes it" in out
    assert "lost (train, step 12 of 32); compare will do it again" in out
    assert "ETA" not in out
    document = json.loads(call("status", "results/demo", "--json")[1])
    assert _standings(document)[2] == "lost"
    assert document["eta_s"] is None
    assert (document["runs"][2]["comes_again"], document["runs"][1]["comes_again"]) == (True, False)


def test_checking_status_neither_locks_nor_changes_the_folder(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert read_status(folder).is_running is False
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    FileLock(folder / ".lock").acquire(timeout=0).lock.release()
    (folder / ".lock").unlink()
    assert read_status(folder).is_running is False
    assert not (folder / ".lock").exists()


def test_a_run_that_its_user_stopped_is_no_failure(call: Call, tmp_path: Path) -> None:
    stopped = a_record(RUNS[1], "killed", reason=STOPPED_BY_USER)
    folder = a_study_folder(tmp_path / "stopped", records=[a_record(RUNS[0]), stopped])
    (folder / "study.json").write_text(STUDY.model_dump_json())
    code, out, _ = call("status", str(folder))
    assert code == 0
    assert out.splitlines()[0].startswith("demo: 1 done · 6 to do")


def test_the_lock_of_a_killed_process_is_ignored(folder: Path) -> None:
    code = "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); print(1)"
    code += "; sys.stdout.flush(); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(folder / ".lock")], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    assert read_status(folder).is_running
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert not read_status(folder).is_running


def test_a_study_that_has_only_just_started_is_shown(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "demo"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(STUDY.model_dump_json())
    (tmp_path / "study.yaml").write_text("name: demo\n")
    with FileLock(folder / ".lock"):
        code, out, _ = call("status", "study.yaml")
    assert code == 0
    assert out.startswith("demo: 0 done · 7 to do\na process runs it now; no run has started yet")


def test_a_run_with_a_record_and_a_leftover_state_is_finished(tmp_path: Path) -> None:
    run = a_run()
    folder = a_study_folder(tmp_path, records=[a_record(run)], states=[a_state(run, num_attempts=0)])
    (row,) = read_status(folder).rows
    assert (row.status, row.num_attempts) == ("ok", 1)


def test_outdated_and_damaged_records_are_reported_but_not_counted(call: Call, folder: Path) -> None:
    a_study_folder(folder, records=[a_record(a_run("loha"), "error")])
    (folder / "records" / "broken.json").write_text("{")
    _, out, _ = call("status", "study.yaml")
    assert "1 record is of a run that the study does not ask for any more" in out
    assert "broken.json cannot be read" in out
    assert "loha" not in out
    document = json.loads(call("status", "study.yaml", "--json")[1])
    assert [run["method"] for run in document["runs"] if not run["in_study"]] == ["loha"]


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "x"}'])
def test_a_damaged_study_file_only_hides_the_runs_still_to_do(call: Call, folder: Path, content: str) -> None:
    (folder / "study.json").write_text(content)
    code, out, _ = call("status", "results/demo")
    assert code == 1
    assert "runs still to do are not known" in out.replace("\n", " ")
    assert "to do ·" not in out


def test_results_without_a_study_are_shown_too(call: Call, folder: Path) -> None:
    (folder / "study.json").unlink()
    assert len(json.loads(call("status", "results/demo", "--json")[1])["runs"]) == 3


def test_a_study_whose_runs_all_succeeded_exits_with_code_0(call: Call, tmp_path: Path) -> None:
    a_study_folder(tmp_path / "results" / "fine", records=[a_record(run) for run in RUNS])
    code, out, _ = call("status", "results/fine")
    assert code == 0
    assert out.startswith("fine: 7 done\nno process runs it now\n")


def test_watch_mode_ends_when_the_study_ends(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = FileLock(folder / ".lock")
    lock.acquire()
    monkeypatch.setattr(time, "sleep", lambda seconds: lock.release())
    code, out, _ = call("status", "study.yaml", "--watch")
    assert code == 1
    assert "no process runs it now" in out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [(["results/dmo"], "did you mean results/demo?"), (["results/demo", "--watch", "--json"], "give one of them")],
)
def test_a_wrong_request_ends_with_exit_code_2(call: Call, folder: Path, arguments: list[str], part: str) -> None:
    code, _, err = call("status", *arguments)
    assert code == 2
    assert part in err


def test_status_needs_no_torch_and_answers_at_once(folder: Path) -> None:
    heavy = "[m for m in ('torch', 'transformers', 'peft', 'pandas', 'scipy') if m in sys.modules]"
    code = (
        "import sys; from peftscope.cli import main\n"
        f"sys.argv = ['peftscope', 'status', {str(folder)!r}]\n"
        f"try: main()\nfinally: print({heavy}, file=sys.stderr)"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "[]"
    after = os.times()  # of the processor: the machine may be busy with other things
    used_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert 0 < used_s < 1.5


def test_a_rerun_attempt_does_not_hide_an_attempt_in_progress(tmp_path: Path) -> None:
    done = a_record(RUNS[0])
    repeated = done.attempts[0].model_copy(update={"kind": "rerun", "agrees": True})
    record = done.model_copy(update={"attempts": (*done.attempts, repeated)})
    folder = a_study_folder(tmp_path / "again", records=[record], states=[a_state(RUNS[0], num_attempts=1)])
    (row,) = [row for row in read_status(folder).rows if row.run_id == record.run_id]
    assert row.state is not None
    assert row.num_attempts == 2
