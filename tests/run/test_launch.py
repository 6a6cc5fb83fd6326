"""A crash costs one run and leaves a record."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from peftscope.run.launch import launch
from peftscope.spec.run import RunSpec
from peftscope.store.files import read_records

MakeRun = Callable[..., RunSpec]


def _nothing(run: RunSpec, stage: str, payload: dict[str, Any]) -> None:
    return None


def _child_of_this_process() -> psutil.Process:
    workers = [p for p in psutil.Process().children(recursive=True) if "forkserver" in " ".join(p.cmdline())]
    return max(workers, key=lambda p: (len(p.parents()), p.create_time()))


def test_a_refused_and_a_killed_run_leave_records_and_the_others_go_on(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("xlora"), make_run("lora", train={"max_steps": 500}), make_run("ia3")]
    killed = False

    def kill_the_second(run: RunSpec, stage: str, payload: dict[str, Any]) -> None:
        nonlocal killed
        if run == runs[1] and stage == "train" and not killed:
            killed = True
            os.kill(_child_of_this_process().pid, signal.SIGKILL)

    records = list(launch(runs, tmp_path, on_event=kill_the_second))
    assert [r.status for r in records] == ["refused", "killed", "ok"], [r.attempts[-1].traceback for r in records]
    assert "SIGKILL" in (records[1].reason or "")
    assert {r.run_id for r in read_records(tmp_path)} == {r.run_id for r in runs}


def test_a_second_launch_does_only_what_is_missing(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("base", rate=None), make_run("ia3")]
    first = list(launch(runs[:1], tmp_path, on_event=_nothing))
    seen: list[str] = []
    second = list(launch(runs, tmp_path, on_event=lambda run, stage, payload: seen.append(run.method.name)))
    assert second[0] == first[0]
    assert seen.count("base") == 1  # told as done, not done again
    assert seen.count("ia3") > 1


def test_an_interrupt_stops_the_run_records_it_and_leaves_no_process(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("lora", train={"max_steps": 5000})

    def interrupt(run: RunSpec, stage: str, payload: dict[str, Any]) -> None:
        if stage == "train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(launch([run], tmp_path, on_event=interrupt))
    (record,) = read_records(tmp_path)
    assert record.status == "killed"
    assert record.reason == "interrupted by the user"


def test_an_interrupt_after_a_run_has_ended_keeps_its_record(make_run: MakeRun, tmp_path: Path) -> None:
    import time

    run = make_run("base", rate=None)

    def interrupt_late(run: RunSpec, stage: str, payload: dict[str, Any]) -> None:
        if stage == "latency, merged":
            while not read_records(tmp_path):
                time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(launch([run], tmp_path, on_event=interrupt_late))
    (record,) = read_records(tmp_path)
    assert record.status == "ok"


def test_a_broken_record_does_not_stop_a_study(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("base", rate=None)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f"{run.run_id}.json").write_text("{")
    (record,) = launch([run], tmp_path, on_event=_nothing)
    assert record.status == "ok"


def test_the_output_of_libraries_goes_to_the_runs_log(make_run: MakeRun, tmp_path: Path, capfd: Any) -> None:
    (record,) = launch([make_run("base", rate=None)], tmp_path, on_event=_nothing)
    assert (tmp_path / "logs" / f"{record.run_id}.log").exists()
    assert capfd.readouterr().out == ""
