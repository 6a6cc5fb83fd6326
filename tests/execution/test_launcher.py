"""A crash costs one run and leaves a record; nothing runs twice; nothing is left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from peftscope.execution import launcher
from peftscope.execution.events import Listener
from peftscope.execution.executors.forking import warm_up
from peftscope.execution.executors.local import LocalExecutor
from peftscope.execution.executors.resources import Resources, divide_resources
from peftscope.execution.launcher import launch, study_lock
from peftscope.execution.recovery import recover
from peftscope.schema.live import RunState
from peftscope.schema.record import RunRecord, timestamp
from peftscope.schema.run import RunSpec
from peftscope.store.files import read_records
from peftscope.store.run_states import read_states, run_lock, write_state
from peftscope.tuning.check_result import Machine
from peftscope.tuning.job import Job
from peftscope.tuning.scheduler import FixedScheduler

MakeRun = Callable[..., RunSpec]


class Watcher(Listener):
    """Keeps what it is told, and acts at a stage of a run; in training after a step."""

    def __init__(self, at: str = "", act: Callable[[RunSpec, RunState], None] | None = None) -> None:
        self.at, self.act = at, act
        self.stages: list[tuple[str, str]] = []
        self.started_ids: list[str] = []
        self.found: list[RunRecord] = []
        self.stops = 0

    def planned(self, runs: Sequence[RunSpec], found: Sequence[RunRecord], num_workers: int) -> None:
        self.found = list(found)

    def started(self, run: RunSpec, state: RunState) -> None:
        self.started_ids.append(run.run_id)

    def moved(self, run: RunSpec, state: RunState) -> None:
        self.stages.append((run.method.name, state.stage))
        if self.act is not None and state.stage == self.at and (state.step or self.at != "train"):
            act, self.act = self.act, None
            act(run, state)

    def stopping(self) -> None:
        self.stops += 1


def _do(runs: list[RunSpec], folder: Path, *listeners: Listener, workers: int = 1, threads: int = 1) -> list[RunRecord]:
    with study_lock(folder, lambda: None):
        resources = Resources(num_workers=workers, num_threads=threads)
        scheduler = FixedScheduler(Job(run=run) for run in runs)
        return launch(
            scheduler,
            folder,
            checked=LocalExecutor(folder).check(runs[:1]),
            executor=LocalExecutor(folder, resources),
            listeners=listeners,
        )


def _kill(run: RunSpec, state: RunState) -> None:
    assert state.pid is not None
    os.kill(state.pid, signal.SIGKILL)


def _processes_of_runs() -> list[psutil.Process]:
    """Children that do a run now; the one they are forked from does none."""
    family = [p for p in psutil.Process().children(recursive=True) if "forkserver" in " ".join(p.cmdline())]
    return [p for p in family if any("forkserver" in " ".join(q.cmdline()) for q in p.parents())]


def _gone_within(seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not _processes_of_runs():
            return True
        time.sleep(0.1)
    return False


def test_refused_and_killed_runs_leave_records_and_others_continue(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("xlora"), make_run("lora", train={"max_steps": 500}), make_run("ia3")]
    records = _do(runs, tmp_path, Watcher("train", _kill))
    assert [r.status for r in records] == ["refused", "killed", "ok"], [r.attempts[-1].traceback for r in records]
    assert "SIGKILL" in (records[1].reason or "")
    assert (records[1].attempts[0].reached or "").startswith("train, step")
    assert {r.run_id for r in read_records(tmp_path)} == {r.run_id for r in runs}
    assert read_states(tmp_path) == []


def test_a_segfault_leaves_its_trace_in_the_record(make_run: MakeRun, tmp_path: Path) -> None:
    def crash(run: RunSpec, state: RunState) -> None:
        assert state.pid is not None
        os.kill(state.pid, signal.SIGSEGV)

    (record,) = _do([make_run("lora", train={"max_steps": 500})], tmp_path, Watcher("train", crash))
    assert record.status == "killed"
    assert "SIGSEGV" in (record.reason or "")
    assert "Segmentation fault" in (record.attempts[0].traceback or "")


@pytest.mark.slow
def test_losing_the_fork_server_costs_one_run_only(make_run: MakeRun, tmp_path: Path) -> None:
    def kill_the_warm_process(run: RunSpec, state: RunState) -> None:
        parent = psutil.Process(state.pid).parent()
        assert parent is not None
        parent.kill()

    runs = [make_run("lora", train={"max_steps": 2000}), make_run("ia3")]
    records = _do(runs, tmp_path, Watcher("train", kill_the_warm_process))
    assert [r.status for r in records] == ["killed", "ok"]
    assert _gone_within(10)


def test_a_second_launch_does_only_what_is_missing(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("base", rate=None), make_run("ia3")]
    (first,) = _do(runs[:1], tmp_path)
    watcher = Watcher()
    second = _do(runs, tmp_path, watcher)
    assert second[0] == first
    assert watcher.found == [first]
    assert watcher.started_ids == [runs[1].run_id]


def test_a_run_asked_for_twice_is_done_once(make_run: MakeRun, tmp_path: Path) -> None:
    watcher = Watcher()
    (record,) = _do([make_run("ia3"), make_run("ia3")], tmp_path, watcher)
    assert len(watcher.started_ids) == len(record.attempts) == 1


def test_one_interrupt_ends_and_records_the_run_and_starts_no_other(make_run: MakeRun, tmp_path: Path) -> None:
    def interrupt(run: RunSpec, state: RunState) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    runs = [make_run("lora", train={"max_steps": 5000}), make_run("ia3")]
    watcher = Watcher("train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _do(runs, tmp_path, watcher)
    (record,) = read_records(tmp_path)
    assert (record.status, record.reason) == ("killed", "stopped by the user")
    assert record.metrics["train_time_s"] is not None  # it ended by itself, with what it had measured
    assert (record.attempts[0].reached or "").startswith("train, step")
    assert watcher.stops == 1
    assert _gone_within(10)
    assert read_states(tmp_path) == []


def test_a_second_interrupt_ends_a_run_at_once_and_records_it(make_run: MakeRun, tmp_path: Path) -> None:
    def freeze_and_interrupt(run: RunSpec, state: RunState) -> None:
        assert state.pid is not None
        os.kill(state.pid, signal.SIGSTOP)  # so that it cannot end after its step
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        _do([make_run("lora", train={"max_steps": 5000})], tmp_path, Watcher("train", freeze_and_interrupt))
    (record,) = read_records(tmp_path)
    assert (record.status, record.attempts[0].reason) == ("killed", "ended at once by the user")
    assert _gone_within(10)


def test_one_signal_ends_a_run_that_comes_to_no_end_of_a_step(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in a user's own metric, or in a pattern that backtracks, would never hear of it."""

    def freeze_and_terminate(run: RunSpec, state: RunState) -> None:
        assert state.pid is not None
        os.kill(state.pid, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(launcher, "STOP_PATIENCE_S", 1.0)
    with pytest.raises(KeyboardInterrupt):
        _do([make_run("lora", train={"max_steps": 5000})], tmp_path, Watcher("train", freeze_and_terminate))
    (record,) = read_records(tmp_path)
    assert record.status == "killed"
    assert "did not come to the end of a step" in str(record.attempts[0].reason)
    assert _gone_within(10)


def test_two_workers_run_concurrently_with_their_assigned_threads(make_run: MakeRun, tmp_path: Path) -> None:
    together: list[int] = []

    class Counter(Listener):
        def moved(self, run: RunSpec, state: RunState) -> None:
            together.append(len(read_states(tmp_path)))

    runs = [make_run(name, rate=1e-3) for name in ("lora", "ia3", "oft")]
    records = _do(runs, tmp_path, Counter(), workers=2)
    assert [r.status for r in records] == ["ok"] * 3
    assert [r.spec.method.name for r in records] == ["lora", "ia3", "oft"]
    assert max(together) == 2
    assert {r.attempts[0].environment["num_threads"] for r in records} == {1}
    assert {r.attempts[0].environment["num_workers"] for r in records} == {2}


def test_a_baseline_requested_concurrently_is_measured_once(make_run: MakeRun, tmp_path: Path) -> None:
    _do([make_run("lora"), make_run("ia3")], tmp_path, workers=2)
    assert len(list((tmp_path / "cache").glob("baseline-*.safetensors"))) == 1


def test_a_lost_run_without_a_record_becomes_an_attempt(make_run: MakeRun, tmp_path: Path) -> None:
    run, now = make_run("ia3"), timestamp()
    lost = RunState(
        run_id=run.run_id, title=run.title, worker=0, num_workers=1, num_attempts=0, started_at=now, updated_at=now,
        stage="train", step=2, max_steps=3, spec=run,
    )  # fmt: skip
    write_state(tmp_path, lost)
    assert recover(tmp_path) == [run.run_id]
    (record,) = read_records(tmp_path)
    assert record.status == "killed"
    assert record.attempts[0].reached == "train, step 2 of 3"
    assert recover(tmp_path) == []
    (record,) = _do([run], tmp_path)
    assert record.status == "ok"
    assert [a.status for a in record.attempts] == ["killed", "ok"]


def test_a_run_waits_for_an_earlier_process_of_the_same_run(make_run: MakeRun, tmp_path: Path) -> None:
    run, now = make_run("ia3"), timestamp()
    state = RunState(
        run_id=run.run_id, title=run.title, worker=0, num_workers=1, num_attempts=0, started_at=now, updated_at=now,
        spec=run,
    )  # fmt: skip
    write_state(tmp_path, state)
    import threading

    holding = threading.Event()

    def hold() -> None:
        with run_lock(tmp_path, run.run_id):
            holding.set()
            time.sleep(1.0)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    started = time.monotonic()
    recover(tmp_path)
    assert time.monotonic() - started > 0.5
    thread.join()


def test_a_study_is_run_by_one_process_at_a_time(tmp_path: Path) -> None:
    context = warm_up()
    with study_lock(tmp_path, lambda: None):
        process = context.Process(target=_hold_briefly, args=(tmp_path,))
        process.start()
        deadline = time.monotonic() + 60
        while not (tmp_path / "waits").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not (tmp_path / "held").exists()
    process.join(timeout=20)
    assert (tmp_path / "waits").exists()
    assert (tmp_path / "held").exists()


def _hold_briefly(folder: Path) -> None:
    with study_lock(folder, (folder / "waits").touch):
        (folder / "held").touch()


def test_a_broken_record_does_not_stop_a_study(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("base", rate=None)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f"{run.run_id}.json").write_text("{")
    (record,) = _do([run], tmp_path)
    assert record.status == "ok"


def test_a_failing_listener_does_not_end_the_study(make_run: MakeRun, tmp_path: Path) -> None:
    class Full(Listener):
        def started(self, run: RunSpec, state: RunState) -> None:
            raise OSError(28, "No space left on device")

    (record,) = _do([make_run("base", rate=None)], tmp_path, Full())
    assert record.status == "ok"


def test_a_changed_model_config_changes_the_conditions(make_run: MakeRun, tmp_path: Path, tiny_folder: Path) -> None:
    import json
    import shutil

    model = tmp_path / "model"
    shutil.copytree(tiny_folder, model)
    run = make_run("base", rate=None)
    run = run.model_copy(update={"model": run.model.model_copy(update={"source": str(model)})})
    before = LocalExecutor(tmp_path).check([run]).quality_protocol
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "transformers_version": "0"}))
    assert LocalExecutor(tmp_path).check([run]).quality_protocol == before
    (model / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.1}))
    assert LocalExecutor(tmp_path).check([run]).quality_protocol != before


def test_library_output_goes_to_the_log_of_the_run(make_run: MakeRun, tmp_path: Path, capfd: Any) -> None:
    (record,) = _do([make_run("base", rate=None)], tmp_path)
    assert (tmp_path / "logs" / f"{record.run_id}.log").exists()
    assert capfd.readouterr().out == ""


def test_a_run_under_changed_conditions_is_repeated_and_its_record_archived(
    make_run: MakeRun, tmp_path: Path, tiny_folder: Path
) -> None:
    import shutil

    from tiny import tiny_llama

    model = tmp_path / "model"
    shutil.copytree(tiny_folder, model)
    run = make_run("base", rate=None)
    run = run.model_copy(update={"model": run.model.model_copy(update={"source": str(model)})})
    study = tmp_path / "study"
    (first,) = _do([run], study)
    tiny_llama(seed=1).save_pretrained(model)
    (second,) = _do([run], study)
    assert first.quality_protocol != second.quality_protocol
    assert len(second.attempts) == 2
    (cached,) = (study / "superseded").glob("*.json")
    assert RunRecord.model_validate_json(cached.read_text()) == first


@pytest.fixture
def warm_process() -> Iterator[psutil.Process]:
    context = warm_up()
    process = context.Process(target=time.sleep, args=(30,))
    process.start()
    parent = psutil.Process(process.pid).parent()
    assert parent is not None
    yield parent
    process.kill()
    process.join()


def test_the_process_that_forks_runs_is_single_threaded(warm_process: psutil.Process) -> None:
    assert warm_process.num_threads() == 1


def test_importing_all_that_a_run_needs_initialises_no_accelerator() -> None:
    import subprocess
    import sys

    code = (
        "import peftscope.execution.executors.preload, torch; "
        "print(torch.cuda.is_initialized(), torch.xpu.is_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_preloading_for_an_accelerator_touches_no_cuda_and_imports_no_bitsandbytes() -> None:
    import subprocess
    import sys

    code = """
import sys, torch, traceback
asked = []
def ask(*args, **options):
    asked.append("".join(traceback.format_stack(limit=6)))
    return False
for name in ("is_available", "_lazy_init", "get_device_capability", "get_device_properties", "current_device"):
    setattr(torch.cuda, name, ask)
torch.accelerator.current_accelerator = lambda: torch.device("cuda")
import peftscope.execution.executors.preload
assert not asked, asked[0]
assert "bitsandbytes" not in sys.modules
from peft.import_utils import is_bnb_4bit_available
import bitsandbytes
assert is_bnb_4bit_available()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


@pytest.mark.skipif(torch.accelerator.current_accelerator() is not None, reason="PyTorch is built for an accelerator")
@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_without_an_accelerator_no_run_has_to_import_bitsandbytes() -> None:
    import subprocess
    import sys

    code = "import sys, peftscope.execution.executors.preload; print('bitsandbytes' in sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.skipif(torch.accelerator.current_accelerator() is not None, reason="PyTorch is built for an accelerator")
def test_a_bitsandbytes_that_cannot_be_imported_stops_nothing(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "bitsandbytes").mkdir()
    (tmp_path / "bitsandbytes" / "__init__.py").write_text("raise RuntimeError('a broken backend')\n")
    code = "import peftscope.execution.executors.preload; print('goes on')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "goes on"


def test_threads_times_workers_stay_within_the_cores() -> None:
    from peftscope.errors import SpecError

    cpu = Machine(device="cpu", num_devices=0, num_cores=8, num_threads=4)
    assert divide_resources(cpu) == Resources(num_workers=1, num_threads=4)
    assert divide_resources(cpu, workers=4).num_threads == 2
    assert divide_resources(cpu, workers=8).num_threads == 1
    with pytest.raises(SpecError, match="8 cores"):
        divide_resources(cpu, workers=4, threads=4)
    with pytest.raises(SpecError, match="8 cores"):
        divide_resources(cpu, workers=9)
    gpus = Machine(device="cuda", num_devices=4, num_cores=8, num_threads=8)
    resources = divide_resources(gpus)
    assert (resources.num_workers, resources.num_threads) == (4, 2)
    assert [resources.environment(w, None)["CUDA_VISIBLE_DEVICES"] for w in range(4)] == ["0", "1", "2", "3"]


def test_accelerators_that_cannot_be_shared_out_have_one_worker() -> None:
    others = divide_resources(Machine(device="other", num_devices=4, num_cores=8, num_threads=8))
    assert (others.num_workers, others.num_devices, others.environment(0, None)) == (1, 1, {"OMP_NUM_THREADS": "8"})
    asked = divide_resources(Machine(device="other", num_devices=4, num_cores=8, num_threads=8), workers=2)
    assert [asked.device_of(worker) for worker in range(2)] == [0, 0]
