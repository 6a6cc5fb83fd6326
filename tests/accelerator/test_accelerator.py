"""What a CPU cannot show: studies, methods and pictures on an accelerator, which is simulated in main memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from peftscope.schema.record import RunRecord
from peftscope.store.files import read_records

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LACKING = {"frod", "shira", "p-tuning-lstm"}
"""Methods with operations that PyTorch demands of the device itself: sparse tensors, an LSTM's cell."""
DRAWN_THERE = {"kasa", "bd-lora", "monteclora", "pvera"}
"""Methods that draw numbers on the device, which has its own; others are drawn before they are moved there."""
STORIES = {"name": "math", "source": "stories", "query_template": "Question: {query}\nAnswer:"}
SCENES = {"name": "concept", "source": "drawn", "train_size": 8, "valid_size": 4, "test_size": 4}

pytestmark = pytest.mark.skipif(
    shutil.which("c++") is None, reason="no C++ compiler, so the simulated accelerator cannot be built"
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of processes that have the accelerator; they share its memory."""
    path = os.pathsep.join([str(HERE), str(HERE.parent), *sys.path])
    own = {"PYTHONPATH": path, "SIMULATED_MEMORY_FILE": str(tmp_path / "memory"), "COLUMNS": "200"}
    return {**os.environ, **own, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def _python(environment: dict[str, str], *arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def _compare(environment: dict[str, str], folder: Path, study: dict[str, Any]) -> dict[str, RunRecord]:
    """Records by title of a study's runs."""
    path = folder / f"{study['name']}.yaml"
    path.write_text(json.dumps(study))
    _python(environment, "-m", "peftscope", "compare", path, "--out", folder / study["name"], "--quiet")
    return {record.spec.method.title: record for record in read_records(folder / study["name"])}


def _text_study(device: str, **model: Any) -> dict[str, Any]:
    sizes = {"train_size": 64, "valid_size": 8, "test_size": 8, "max_new_tokens": 8, "max_length": 96}
    return {
        "name": f"text-{device}",
        "model": {"source": "builtin:nano-lm", "device": device, **model},
        "task": {**STORIES, **sizes, "general_tokens": 200},
        "methods": ["lora", "oft"],
        "seeds": [0],
        "train": {"max_steps": 5, "batch_size": 4, "eval_every": 2},
        "measure": {"metered_steps": 2},
    }


DEMANDS = """
import json, torch
there = torch.device("simulated")
torch.manual_seed(0)
here = torch.get_rng_state()
drawn = torch.rand(1000, device=there)
said = {"accelerator": str(torch.accelerator.current_accelerator())}
said["same"] = bool(torch.equal(here, torch.get_rng_state()))
for name, act in {
    "mixed": lambda: torch.ones(2, 2, device=there) @ torch.ones(2, 2),
    "added": lambda: torch.ones(2, device=there) + torch.ones(2),
    "generator": lambda: torch.rand(2, device=there, generator=torch.Generator()),
    "full": lambda: torch.empty(2**40, device=there),
}.items():
    try:
        act()
    except RuntimeError as error:
        said[name] = type(error).__name__ + ": " + str(error)[:60]
before = torch.simulated.memory_allocated()
held = torch.empty(2**20, device=there)
said["held"] = torch.simulated.memory_allocated() - before
del held
said["freed"] = torch.simulated.memory_allocated() - before
said["peak"] = torch.simulated.max_memory_allocated() - before
print(json.dumps(said))
"""


def test_the_simulated_accelerator_demands_what_an_accelerator_does(environment: dict[str, str]) -> None:
    said = json.loads(_python(environment, "-c", DEMANDS))
    assert (said["accelerator"], said["same"]) == ("simulated", True)
    assert said["mixed"].startswith("RuntimeError: Expected all tensors to be on the same device")
    assert said["added"].startswith("RuntimeError: Expected all tensors to be on the same device")
    assert said["generator"].startswith("RuntimeError: Expected a 'simulated' device type for generator")
    assert said["full"].startswith("OutOfMemoryError: simulated out of memory")
    assert (said["held"], said["freed"], said["peak"]) == (2**22, 0, 2**22)


def test_a_study_on_an_accelerator_gives_the_figures_of_the_cpu(environment: dict[str, str], tmp_path: Path) -> None:
    here = _compare(environment, tmp_path, _text_study("simulated", dtype="float32"))
    there = _compare(environment, tmp_path, _text_study("cpu"))
    assert set(here) == set(there) == {"base", "lora", "oft"}
    for title, record in here.items():
        found, expected = record.metrics, there[title].metrics
        for name in ("train_loss", "valid_loss", "test_loss", "general_loss", "forgetting", "drift", "accuracy"):
            assert found.get(name) == pytest.approx(expected.get(name), abs=1e-4), (title, name)
        assert found["num_trainable_params"] == expected["num_trainable_params"]
        assert record.attempts[-1].environment["accelerator"] == "Simulated accelerator"


def test_by_itself_a_study_takes_the_accelerator_in_bfloat16(environment: dict[str, str], tmp_path: Path) -> None:
    study = {**_text_study("auto"), "methods": ["lora"], "include_base": False}
    record = _compare(environment, tmp_path, study)["lora"]
    assert record.attempts[-1].environment["device"] == "simulated"
    assert 0 < record.metrics["peak_train_memory_bytes"] <= record.metrics["peak_train_reserved_bytes"]


@pytest.mark.slow
def test_a_device_without_float64_trains_and_converts(environment: dict[str, str], tmp_path: Path) -> None:
    environment = {**environment, "SIMULATED_WITHOUT_FLOAT64": "1"}
    study = {**_text_study("auto", dtype="float32"), "methods": ["oft"], "include_base": False}
    record = _compare(environment, tmp_path, study)["oft"]
    place = tmp_path / study["name"]
    told = json.loads(
        _python(
            environment, "-m", "peftscope", "convert", record.run_id, "--study", place, "-o", tmp_path / "lora",
            "--refine", 2, "--json", "--quiet",
        )
    )  # fmt: skip
    assert told["output_error"] <= told["tolerance"]
    assert (tmp_path / "lora" / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_every_method_trains_on_an_accelerator_as_on_the_cpu(environment: dict[str, str]) -> None:
    found = json.loads(_python(environment, HERE / "train_methods.py", "fast").splitlines()[-1])
    assert len(found) > 70
    failed = {name: each["simulated"] for name, each in found.items() if isinstance(each["simulated"], str)}
    assert set(failed) == LACKING, failed
    for name in set(found) - LACKING:
        tolerance = 1e-2 if name in DRAWN_THERE else 1e-4
        assert found[name]["simulated"] == pytest.approx(found[name]["cpu"], rel=tolerance), name


@pytest.mark.slow
def test_pictures_are_learned_and_drawn_on_an_accelerator(environment: dict[str, str], tmp_path: Path) -> None:
    def study(device: str) -> dict[str, Any]:
        return {
            "name": f"pictures-{device}",
            "model": {"source": "builtin:nano-t2i", "device": device, "dtype": "float32"},
            "task": {**SCENES, "num_inference_steps": 2},
            "methods": ["lora"],
            "seeds": [0],
            "train": {"max_steps": 3, "batch_size": 2},
            "measure": {"latency": False, "metered_steps": 2},
        }

    here, there = (_compare(environment, tmp_path, study(device)) for device in ("simulated", "cpu"))
    assert set(here) == {"base", "lora"}
    for title, record in here.items():
        found, expected = record.metrics, there[title].metrics
        for name in ("valid_loss", "test_loss", "test_score", "image_drift"):
            assert found[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4), (title, name)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_check_of_accelerators_is_ok_on_a_simulated_one(environment: dict[str, str], tmp_path: Path) -> None:
    parts = "memory,recovery,cpu"
    script = ROOT / "benchmarks" / "accelerator.py"
    _python(environment, script, "--small", "--output", tmp_path, "--parts", parts)
    (found,) = (tmp_path / "accelerator").glob("*.json")
    document = json.loads(found.read_text())
    assert document["device"] == "Simulated accelerator"
    assert set(document["parts"]) == {"model", *parts.split(",")}
