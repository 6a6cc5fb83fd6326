"""A run's adapter: the base by its hash, the score before and after, the command and its exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import peftscope as ps
from peftscope.errors import ModelError, SpecError
from peftscope.execution.execute import execute
from peftscope.schema.run import RunSpec
from peftscope.store.files import write_record


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, make_run: Callable[..., RunSpec]) -> tuple[Path, str]:
    """A folder with one finished run, and the run's id."""
    folder = tmp_path_factory.mktemp("study")
    record = execute(make_run("hra", train={"max_steps": 4}, rate=1e-2), folder)
    assert record.status == "ok", record.reason
    write_record(folder, record)
    return folder, record.run_id


def test_a_runs_test_examples_are_scored_again(study: tuple[Path, str], tmp_path: Path) -> None:
    folder, run = study
    found = ps.convert(run, tmp_path / "out", study=folder, rank=64)
    score = found.conversion.score
    assert score is not None
    assert score.num_examples == 6
    assert score.before == pytest.approx(score.after)
    assert score.verdict == "undecided"  # six examples tell nothing
    assert found.conversion.verdict == "undecided"  # however near its outputs are
    assert "before" in found.text()
    assert found.conversion.output_error is not None
    assert found.conversion.output_error < 0.01
    text = (tmp_path / "out" / "README.md").read_text()
    matter = yaml.safe_load(text.split("---")[1])
    assert matter["library_name"] == "peft"
    assert matter["model-index"][0]["results"][0]["metrics"][0]["value"] == pytest.approx(score.after, abs=1e-6)
    assert all(
        words in text for words in ("**undecided**", "4 steps of", "test examples", "`lora_alpha` equals the rank")
    )
    files = [path.read_text() for path in (tmp_path / "out").iterdir() if path.suffix != ".safetensors"]
    assert not any(str(Path(part)) in each for each in files for part in (tmp_path, folder, Path.home()))
    by_folder = ps.convert(folder / "adapters" / run, tmp_path / "again", score=False)
    assert by_folder.conversion.score is None
    assert by_folder.conversion.verdict == "equivalent"


def test_another_base_than_the_runs_is_refused_by_its_hash(study: tuple[Path, str], tmp_path: Path) -> None:
    folder, run = study
    path = folder / "records" / f"{run}.json"
    text = path.read_text()
    try:
        raw = json.loads(text)
        path.write_text(json.dumps({**raw, "weights_sha256": "0" * 64}))
        with pytest.raises(ModelError, match=r"not the base the adapter was trained on.*000000000000"):
            ps.convert(run, tmp_path / "out", study=folder)
    finally:
        path.write_text(text)
    assert not list(tmp_path.iterdir())


def test_the_command_says_by_its_exit_code_whether_the_lora_stands_for_the_adapter(
    study: tuple[Path, str], tmp_path: Path
) -> None:
    folder, run = study

    def call(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "peftscope", "convert", run, "--study", str(folder), "--no-score", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        return done.returncode, done.stdout, done.stderr

    code, out, errors = call("--output", "small", "--rank", "1", "--tolerance", "0.001", "--json")
    document = json.loads(out)
    assert (code, document["schema"], document["verdict"]) == (1, "peftscope.convert/1", "differs"), errors
    assert document["max_lora_rank"] == 1
    assert {layer["error_of"] for layer in document["layers"]} == {"outputs"}
    code, out, errors = call("--output", "large")
    assert code == 0, errors
    assert "LoRA of rank" in out
    code, out, errors = call("--output", "large")
    assert code == 2
    assert "is there already" in errors
    code, out, errors = call("--output", "other", "--rank", "2", "--energy", "0.5")
    assert code == 2
    assert "--rank and --energy" in errors


def test_an_adapter_of_others_is_fitted_to_and_scored_by_the_task_of_a_study(
    study: tuple[Path, str], make_run: Callable[..., RunSpec], tmp_path: Path
) -> None:
    folder, run = study
    foreign = tmp_path / "foreign"
    shutil.copytree(folder / "adapters" / run, foreign)
    spec = make_run("hra")
    text = {
        "name": "of-others",
        "model": spec.model.source,
        "task": {"name": spec.task.name, **spec.task.options},
        "methods": [{"name": "hra"}],
    }
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(text))
    found = ps.convert(foreign, tmp_path / "out", model=spec.model.source, task=tmp_path / "task.yaml", rank=64)
    own = ps.convert(run, tmp_path / "own", study=folder, rank=64)
    assert found.conversion.score is not None
    assert own.conversion.score is not None
    assert found.conversion.score.before == own.conversion.score.before
    assert found.conversion.score.num_examples == 6
    assert "before" in found.text()
    assert "test examples" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(SpecError, match="a run has its own"):
        ps.convert(run, tmp_path / "not", study=folder, task=tmp_path / "task.yaml")


@pytest.mark.parametrize("format", ["peft", "merged"])
def test_a_part_of_an_adapter_is_written_and_compared_with_that_part(
    study: tuple[Path, str], tmp_path: Path, format: str
) -> None:
    folder, run = study
    size = {"rank": 64} if format == "peft" else {}
    found = ps.convert(run, tmp_path / "out", study=folder, strength=0.5, format=format, **size)
    assert found.conversion.output_error is not None
    assert found.conversion.output_error < 0.01
    assert found.conversion.score is not None
    assert found.conversion.score.before == pytest.approx(found.conversion.score.after)
    assert "hra at strength 0.5" in found.text()
    told = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert told["strength"] == 0.5
    assert "strength 0.5" in (tmp_path / "out" / "README.md").read_text()
    if format == "peft":
        whole = ps.convert(run, tmp_path / "whole", study=folder, rank=64, score=False)
        norms = {layer.name: layer.change_norm for layer in whole.conversion.layers}
        for layer in found.conversion.layers:
            assert layer.change_norm == pytest.approx(norms[layer.name] / 2, rel=1e-3)


@pytest.mark.parametrize("strength", [0.0, 1.5, -1.0])
def test_a_strength_that_is_none_is_refused(study: tuple[Path, str], tmp_path: Path, strength: float) -> None:
    with pytest.raises(SpecError, match="must be above 0"):
        ps.convert(study[1], tmp_path / "out", study=study[0], strength=strength)
