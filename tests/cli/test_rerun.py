"""A run can be repeated from its record alone, and the repetition is set against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.store.files import read_record, read_records, record_path

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_run: Callable[..., RunSpec]) -> Path:
    """Results of a study of one method."""
    run = make_run("lora", train={"max_steps": 4}).model_dump(mode="json")
    document = {
        "name": "again",
        "model": run["model"]["source"],
        "task": {"name": run["task"]["name"], **run["task"]["options"], "general_tokens": 0},
        "methods": ["lora"],
        "include_base": False,
        "seeds": [0],
        "train": {"max_steps": 4},
        "measure": {"latency": False},
    }
    place = tmp_path_factory.mktemp("again")
    (place / "study.yaml").write_text(json.dumps(document))
    done = _call("compare", str(place / "study.yaml"), "--out", str(place / "results"), "--threads", "1", "--quiet")
    assert done.returncode == 0, done.stderr
    return place / "results"


def _call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "peftscope", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})


def _record(folder: Path) -> RunRecord:
    (record,) = read_records(folder)
    return record


def test_a_rerun_is_bit_identical_and_noted_as_an_attempt(folder: Path) -> None:
    before = _record(folder)
    done = _call("rerun", before.run_id[:6], "--study", str(folder), "--json", "--quiet")
    assert done.returncode == 0, done.stderr + done.stdout
    document = json.loads(done.stdout)
    assert document["same_losses"] is True
    assert document["num_losses"] == 4
    assert document["deviations"] == []
    after = _record(folder)
    assert after.metrics == before.metrics
    assert [(a.kind, a.agrees) for a in after.attempts[-2:]] == [("run", None), ("rerun", True)]
    assert sorted(p.name for p in folder.iterdir() if p.name.startswith(".rerun")) == []


@pytest.mark.slow
def test_deviations_from_the_record_are_reported_with_exit_code_1(folder: Path) -> None:
    record = _record(folder)
    path = record_path(folder, record.run_id)
    original = path.read_text()
    raw = json.loads(original)
    raw["curve"][2]["train_loss"] += 1e-7
    path.write_text(json.dumps(raw))
    done = _call("rerun", str(path), "--quiet")
    path.write_text(original)
    assert done.returncode == 1, done.stderr
    assert "step 3.train_loss" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_shown_rerun_command_repeats_the_run(folder: Path) -> None:
    record = _record(folder)
    shown = _call("show", record.run_id, "--study", str(folder)).stdout
    line = next(line for line in shown.splitlines() if "peftscope rerun" in line)
    command = line[line.index("peftscope rerun") :].split()[1:]
    assert command[:2] == ["rerun", record.run_id]
    assert command[-2:] == ["--threads", "1"]
    done = _call(*command, "--quiet")
    assert done.returncode == 0, done.stderr
    assert "every figure that can repeat is the same" in done.stdout


def test_an_imported_run_cannot_be_repeated(folder: Path, tmp_path: Path) -> None:
    record = read_record(record_path(folder, _record(folder).run_id))
    foreign = record.model_copy(update={"origin": "foreign"})
    place = record_path(tmp_path, record.run_id)
    place.parent.mkdir()
    place.write_text(foreign.model_dump_json(by_alias=True))
    done = _call("rerun", str(place))
    assert done.returncode == 2
    assert "was imported" in done.stderr
