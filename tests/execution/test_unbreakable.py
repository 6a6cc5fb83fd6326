"""Whatever ends a study half-way, calling it again gives what it would have given undisturbed, and nothing twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from kills import Compare, Kills, repeating

from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.store.files import read_records
from peftscope.store.run_states import read_states

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

METHODS = ("lora", "rslora", "ia3", "oft", "ln-tuning", "vera", "full", "prompt-tuning", "dora")
"""With the base, ten runs."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, make_run: Callable[..., RunSpec]) -> Path:
    """Ten runs of a second or two each."""
    run = make_run("lora", train={"max_steps": 6})
    raw = run.model_dump(mode="json")
    document = {
        "name": "ten",
        "model": raw["model"]["source"],
        "task": {"name": raw["task"]["name"], **raw["task"]["options"]},
        "methods": list(METHODS),
        "seeds": [0],
        "train": {"max_steps": 6},
        "measure": {"latency": False},
    }
    path = tmp_path_factory.mktemp("ten") / "study.yaml"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture(scope="module")
def undisturbed(study: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What repeats of the records of a study that nothing disturbed, by run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, errors = Compare(study, folder, "none").finish()
    assert code == 0, errors
    records = read_records(folder)
    assert len(records) == 10
    return repeating(records)


def _marked(mark: str) -> list[psutil.Process]:
    """Processes that were started by a comparison with this mark, or by one of its own."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STUDY_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _assert_all_gone(mark: str) -> None:
    deadline = time.monotonic() + 40  # what children are forked from sees its end when it has imported
    while _marked(mark) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _marked(mark) == []


def _with_ten_kills(study: Path, folder: Path, mark: str) -> list[RunRecord]:
    kills = Kills(10)
    records = kills.records_of(study, folder, mark)
    assert kills.made.total() == 10
    return records


def test_ten_random_kills_change_no_results_and_leave_no_process(
    study: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    mark, folder = uuid.uuid4().hex, tmp_path / "study"
    records = _with_ten_kills(study, folder, mark)
    assert repeating(records) == undisturbed
    assert all([a.status for a in record.attempts].count("ok") == 1 for record in records)
    lost = sum(attempt.status == "killed" for record in records for attempt in record.attempts)
    assert lost > 0
    assert read_states(folder) == []
    assert not list(folder.rglob("*.tmp"))
    _assert_all_gone(mark)


def test_a_killed_tuning_study_resumes_to_the_same_trials(study: Path, tmp_path: Path) -> None:
    document = json.loads(study.read_text())
    document |= {"methods": ["lora", "adalora", "ia3"], "tuning": {"effort": "standard", "rungs": [0.5]}, "seeds": [0]}
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text(json.dumps(document))
    code, errors = Compare(tuned, tmp_path / "undisturbed", "none").finish()
    assert code == 0, errors
    expected = read_records(tmp_path / "undisturbed")
    trials = [record for record in expected if record.spec.purpose == "trial"]
    assert len(expected) == 1 + len(trials) + 3
    assert {record.spec.seed for record in trials} == {1000, 1001}
    mark, folder = uuid.uuid4().hex, tmp_path / "study"
    records = _with_ten_kills(tuned, folder, mark)
    assert repeating(records) == repeating(expected)
    trials = [record for record in records if record.spec.purpose == "trial"]
    assert {record.status for record in trials} == {"ok", "eliminated"}
    _assert_all_gone(mark)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in memory, with room for about half of the study."""
    place = tmp_path / "disk"
    place.mkdir()
    _mount(place, "-t", "tmpfs", "-o", "size=600k", "tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def _mount(place: Path, *arguments: str) -> None:
    done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")


def test_a_full_disk_loses_no_record_and_the_study_resumes(
    study: Path, undisturbed: dict[str, Any], small_disk: Path
) -> None:
    mark, folder = uuid.uuid4().hex, small_disk / "study"
    code, errors = Compare(study, folder, mark).finish()
    assert code == 2, errors
    assert "No space left" in errors
    assert "Traceback" not in errors
    before = {record.run_id: record for record in read_records(folder) if record.status == "ok"}
    assert 0 < len(before) < 10
    _mount(small_disk, "-o", "remount,size=100m")
    code, errors = Compare(study, folder, mark).finish()
    assert code == 0, errors
    records = read_records(folder)
    assert repeating(records) == undisturbed
    assert all(record == before.get(record.run_id, record) for record in records)
    _assert_all_gone(mark)


UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
"""Root may write anywhere; without this privilege it meets the permissions anybody meets."""


def _set_writable(folder: Path, writable: bool) -> None:
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:  # first, so that no file comes or goes any more
        path.chmod(0o755 if writable else 0o555)
    for path in (path for each in folders for path in each.iterdir() if not path.is_dir()):
        with suppress(FileNotFoundError):  # a temporary one, gone since it was listed
            path.chmod(0o644 if writable else 0o444)


def test_a_read_only_folder_loses_no_record_and_the_study_resumes(
    study: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    prefix = UNPRIVILEGED if os.geteuid() == 0 else []
    if prefix and shutil.which(prefix[0]) is None:
        pytest.skip("root may write anywhere, and there is no setpriv to give that up")
    mark, folder = uuid.uuid4().hex, tmp_path / "study"
    compare = Compare(study, folder, mark, prefix)
    ended = 0
    for event in compare.events():
        ended += event["event"] == "ended"
        if event["event"] == "ended" and ended == 5:
            _set_writable(folder, False)
    code, errors = compare.finish()
    assert code == 2, errors
    assert "Permission denied" in errors
    assert "Traceback" not in errors
    _assert_all_gone(mark)
    before = {record.run_id: record for record in read_records(folder) if record.status == "ok"}
    assert 5 <= len(before) < 10
    code, errors = Compare(study, folder, mark, prefix).finish()  # still read-only: says so
    assert code == 2
    assert "Permission denied" in errors
    _set_writable(folder, True)
    code, errors = Compare(study, folder, mark, prefix).finish()
    assert code == 0, errors
    records = read_records(folder)
    assert repeating(records) == undisturbed
    assert all(record == before.get(record.run_id, record) for record in records)
