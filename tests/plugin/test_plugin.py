"""Kinds of models, tasks and measurements from outside the package go through every command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(__file__).parent
STUDIES: dict[str, dict[str, Any]] = {
    "regression": {
        "task": {"name": "linear-map", "num_rows": 80},
        "methods": ["lora", "oft", "full", "prompt-tuning"],
        "tuning": {"trials": 2},
        "seeds": [0, 1],
    },
    "denoising": {"task": {"name": "point-cloud"}, "methods": ["lora", "ia3"], "seeds": [0, 1, 2]},
}
Call = Callable[..., subprocess.CompletedProcess[str]]


def _environment(*folders: Path) -> dict[str, str]:
    path = os.pathsep.join(str(folder) for folder in (*folders, os.environ.get("PYTHONPATH", "")) if str(folder))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "peftscope", *map(str, arguments)]


def _call(*arguments: object, folders: tuple[Path, ...] = (PLUGIN,)) -> subprocess.CompletedProcess[str]:
    environment = _environment(*folders)
    return subprocess.run(_command(*arguments), capture_output=True, text=True, check=False, env=environment)


def _write(folder: Path, name: str, **changes: Any) -> Path:
    train = {"max_steps": 20, "batch_size": 8, "eval_every": 5}
    study = {"name": name, "model": "plain:16", "train": train, **STUDIES[name], **changes}
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(study))
    return path


@pytest.fixture(scope="module", params=list(STUDIES))
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a study on a kind of model that peftscope does not know."""
    folder = tmp_path_factory.mktemp(request.param)
    study = _write(folder, request.param)
    done = _call("compare", study, "--out", folder / "results", "--threads", 1, "--quiet")
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if request.param == "regression" else 0), done.stderr  # prompt tuning is refused
    return folder / "results"


def test_every_command_works_with_a_plugin_model_kind(results: Path) -> None:
    done = [record for record in _records(results) if record["status"] == "ok"]
    assert len(done) >= 6
    assert {record["quality_protocol"] for record in done} == {done[0]["quality_protocol"]}
    finals = [record for record in done if record["spec"]["purpose"] == "final"]
    learned = next(record for record in finals if record["method_facts"]["adapted_modules"])
    assert learned["metrics"]["peak_train_memory_bytes"] > learned["metrics"]["base_memory_bytes"]
    assert learned["metrics"]["checkpoint_bytes"] > 0
    for command in ("recommend", "status"):
        found = _call(command, results, "--json")
        assert found.returncode in (0, 1), found.stderr  # 1: it is done, and the refused method is worth a look
        assert json.loads(found.stdout)["schema"] == f"peftscope.{command}/1"
    for arguments in (("recommend", results), ("show", learned["run_id"], "--study", results), ("report", results)):
        found = _call(*arguments)
        assert found.returncode in (0, 1), found.stderr
        assert found.stdout
        assert "Traceback" not in found.stdout + found.stderr
    assert (results / "report" / "report.html").exists()
    csv = results / "out.csv"
    assert _call("export", results, "--csv", csv).returncode == 0


def test_a_plugin_metric_can_be_limited_preferred_and_shown(results: Path) -> None:
    if results.parent.name.startswith("denoising"):
        pytest.skip("the measurement is taken of regression nets")
    metrics = {r["run_id"]: r["metrics"]["movement"] for r in _records(results) if r["spec"]["purpose"] == "final"}
    assert any(value is not None for value in metrics.values())
    looks = {r["metrics"]["num_looks"] for r in _records(results) if r["metrics"]["movement"] is not None}
    assert looks == {3, None}, "20 steps with a validation after every 5 but the last; the base is not trained"
    assert "moved" in _call("export", results, "--markdown", "-").stdout
    assert "movement" in _call("export", results, "--csv", "-").stdout.splitlines()[0]
    shown = next(run for run, value in metrics.items() if value is not None)
    assert "movement of outputs" in _call("show", shown, "--study", results).stdout
    preferred = json.loads(_call("recommend", results, "--prefer", "movement", "--json").stdout)
    assert preferred["measured_by"]["movement"] == "movement"
    limited = _call("recommend", results, "--max", "movement=0.001")
    assert limited.returncode == 1
    assert "movement of outputs ≤ 0.001" in " ".join(limited.stdout.split())
    wrong = _call("recommend", results, "--max", "movment=1")
    assert wrong.returncode == 2
    assert "did you mean 'movement'?" in wrong.stderr
    assert _call("report", results).returncode in (0, 1)
    page = (results / "report" / "report.html").read_text()
    assert "movement of outputs" in page


def _records(results: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((results / "records").glob("*.json"))]


@pytest.mark.slow
def test_a_run_with_plugins_is_repeated_exactly(results: Path) -> None:
    final = next(
        record["run_id"]
        for record in _records(results)
        if record["status"] == "ok" and record["spec"]["purpose"] == "final"
    )
    again = _call("rerun", final, "--study", results, "--quiet")
    assert again.returncode == 0, again.stdout + again.stderr


@pytest.mark.slow
def test_a_killed_study_with_plugins_is_resumed(tmp_path: Path) -> None:
    study = _write(tmp_path, "denoising", train={"max_steps": 300, "batch_size": 8})
    command = _command("compare", study, "--out", tmp_path / "results", "--threads", 1, "--quiet")
    process = subprocess.Popen(command, env=_environment(PLUGIN), stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not list((tmp_path / "results" / "records").glob("*.json")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    again = subprocess.run(command, env=_environment(PLUGIN), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    records = _records(tmp_path / "results")
    assert len(records) == 7
    assert {record["status"] for record in records} == {"ok"}


@pytest.mark.slow
def test_a_plugin_executor_gives_the_same_scores(results: Path, tmp_path: Path) -> None:
    name = "denoising" if results.parent.name.startswith("denoising") else "regression"
    study = _write(tmp_path, name)
    found = _call("compare", study, "--out", tmp_path / "in-turn", "--threads", 1, "--quiet", "--executor", "in-turn")
    assert "Traceback" not in found.stderr
    here, there = (
        {r["run_id"]: r["metrics"]["test_score"] for r in _records(f)} for f in (results, tmp_path / "in-turn")
    )
    assert here == there
    unknown = _call("compare", study, "--out", tmp_path / "none", "--executor", "in-trun")
    assert unknown.returncode == 2
    assert "did you mean 'in-turn'?" in unknown.stderr


def test_an_unsupported_footprint_prediction_is_reported(tmp_path: Path) -> None:
    found = _call("plan", _write(tmp_path, "regression"))
    assert found.returncode == 2
    assert "regression-net" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"source": "plain:16", "kind": "denoiser"}}, "'denoiser' is no kind this task is learned on"),
        ({"model": {"source": "plain:16", "kind": "denoisr"}}, "unknown kind of model 'denoisr'; did you mean 'denois"),
        ({"model": "plain"}, "is no plain model; write plain:WIDTH"),
        ({"task": {"name": "linear-map", "num_row": 3}}, "did you mean 'num_rows'?"),
    ],
)
def test_settings_incompatible_with_a_plugin_kind_are_rejected_before_running(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    found = _call("compare", _write(tmp_path, "regression", **changes), "--out", tmp_path / "results", "--quiet")
    assert found.returncode == 2, found.stderr
    assert said in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr


BROKEN = """
from peftscope.tasks.registry import TaskEntry
from plain_models.entry import LINEAR_MAP, LinearMapOptions

WRONG_LOSS = TaskEntry(task="broken.tasks:WrongLoss", options="plain_models.entry:LinearMapOptions", kinds=("regression-net",))
FEW_SCORES = TaskEntry(task="broken.tasks:FewScores", options="plain_models.entry:LinearMapOptions", kinds=("regression-net",))
MISSING = TaskEntry(task="broken.nowhere:Task", options="plain_models.entry:LinearMapOptions", kinds=("regression-net",))
NO_TASK = TaskEntry(task="broken.tasks:NoTask", options="plain_models.entry:LinearMapOptions", kinds=("regression-net",))
"""  # noqa: E501
TASKS = """
from plain_models.tasks import LinearMap

class WrongLoss(LinearMap):
    def loss(self, model, batch):
        return (model(batch["x"]) - batch["y"]).square(), len(batch["x"])

class FewScores(LinearMap):
    def score(self, model, predictor, split):
        return super().score(model, predictor, split)[:-1]

class NoTask:
    pass
"""
POINTS = """[peftscope.tasks]
wrong-loss = broken:WRONG_LOSS
few-scores = broken:FEW_SCORES
missing = broken:MISSING
no-task = broken:NO_TASK
no-entry = broken:LinearMapOptions
raises = broken_at_import:ENTRY
"""


def test_an_unloadable_measurement_is_reported_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "broken_measure.py").write_text(
        "from peftscope.measures.registry import MeasurementEntry\n"
        "ENTRY = MeasurementEntry(measurement='broken_measure_nowhere:Energy')\n"
    )
    info = tmp_path / "broken_measure-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-measure\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[peftscope.measurements]\nenergy = broken_measure:ENTRY\n")
    study = _write(tmp_path, "regression")
    found = _call("compare", study, "--out", tmp_path / "results", "--quiet", folders=(PLUGIN, tmp_path))
    assert found.returncode == 2
    assert "measurement 'energy' of package broken-measure 0.1 cannot be loaded" in " ".join(found.stderr.split())
    assert not list((tmp_path / "results").glob("records/*"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package whose tasks do not keep their contract."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "broken").mkdir()
    (folder / "broken" / "__init__.py").write_text(BROKEN)
    (folder / "broken" / "tasks.py").write_text(TASKS)
    (folder / "broken_at_import.py").write_text("raise RuntimeError('no licence key')")
    info = folder / "broken_tasks-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-tasks\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text(POINTS)
    return folder


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("wrong-loss", "of broken: loss gave a tensor of shape (8, 4)"),
        ("few-scores", "of broken: score gave 19 outcomes for 20 examples"),
        ("missing", "of package broken-tasks 0.3 cannot be loaded: ModuleNotFoundError"),
        ("no-task", "of package broken-tasks 0.3: broken.tasks:NoTask does not derive from Task"),
        ("no-entry", "of package broken-tasks 0.3: broken:LinearMapOptions is no TaskEntry"),
        ("raises", "of package broken-tasks 0.3 cannot be loaded: RuntimeError: no licence key"),
    ],
)
def test_a_plugin_that_breaks_its_interface_is_named(task: str, said: str, broken: Path, tmp_path: Path) -> None:
    study = _write(tmp_path, "regression", task={"name": task, "num_rows": 80}, methods=["lora"], include_base=False)
    found = _call("compare", study, "--out", tmp_path / "results", folders=(PLUGIN, broken))
    assert found.returncode in (1, 2)
    assert said in " ".join((found.stdout + found.stderr).split())
    assert "Traceback" not in found.stderr
