"""Promises about growing seeds and ``recommend --confirm``, by real runs of a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from peftscope.schema.run import RunSpec
from peftscope.store.files import read_records


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, make_run: Callable[..., RunSpec]) -> Path:
    """A study of two methods whose seeds may grow."""
    run = make_run("lora", train={"max_steps": 2}).model_dump(mode="json")
    document = {
        "name": "grows",
        "model": run["model"]["source"],
        "task": {"name": run["task"]["name"], **run["task"]["options"], "general_tokens": 0},
        "methods": ["lora", "ia3"],
        "include_base": False,
        "seeds": {"first": 2, "most": 3},
        "train": {"max_steps": 2},
        "measure": {"latency": False},
    }
    place = tmp_path_factory.mktemp("grows") / "study.yaml"
    place.write_text(json.dumps(document))
    return place


def _call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "peftscope", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})


@pytest.mark.slow
def test_adaptive_seeds_are_priced_first_and_added_seeds_reported(study: Path) -> None:
    folder = study.parent / "results"
    done = _call("compare", str(study), "--out", str(folder), "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert "2 of each method (4 final runs)" in done.stderr
    assert "up to 3 of each (6 final runs at most)" in done.stderr
    told = _call("recommend", str(folder))
    assert "seeds" in told.stdout.split("What this rests on")[1]
    longer = {**json.loads(study.read_text()), "seeds": [0, 1, 2, 3]}
    study.write_text(json.dumps(longer))
    again = _call("compare", str(study), "--out", str(folder), "--threads", "1", "--quiet")
    assert again.returncode == 0, again.stderr
    assert "seeds were added once after a verdict" in " ".join(_call("recommend", str(folder)).stdout.split())
    assert len(read_records(folder)) == 8


@pytest.mark.slow
def test_confirming_uses_fresh_seeds_only_and_leaves_the_study_unchanged(study: Path) -> None:
    folder = study.parent / "results"
    before = {record.run_id for record in read_records(folder)}
    done = _call("recommend", str(folder), "--confirm", "2", "--json")
    document = json.loads(done.stdout)
    confirmed = document["confirmed"]
    assert confirmed["method"] == document["choice"]["method"]
    assert not set(confirmed["seeds"]) & {0, 1, 2, 3}
    score, low, high = confirmed["score"]
    assert low <= score <= high
    assert len(read_records(folder / "confirmed")) == 2
    assert {record.run_id for record in read_records(folder)} == before
