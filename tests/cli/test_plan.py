"""``peftscope plan`` predicts on shapes alone, and says clearly what it cannot take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from peftscope.cli import app
from peftscope.errors import PeftscopeError
from small_configs import LLAMA, TRANSFORMER

STUDY = """
name: tickets
model: {model}
task: {{name: math, source: stories, max_length: 40}}
methods: [lora, {{name: oft, label: mine}}]
seeds: [0]
train: {{batch_size: 3}}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA))
    return str(path)


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["plan", *arguments])
    if isinstance(result.exception, PeftscopeError):
        return 2, str(result.exception)
    return result.exit_code, result.output


@pytest.fixture
def planned(config: str) -> Callable[..., dict[str, dict[str, object]]]:
    def run(*arguments: str) -> dict[str, dict[str, object]]:
        result = CliRunner().invoke(app, ["plan", "--json", "--model", config, *arguments])
        assert result.exit_code == 0, result.output
        document = json.loads(result.stdout)
        assert document["schema"] == "peftscope.plan/1"
        return {entry["name"]: entry for entry in document["methods"]}

    return run


def test_each_method_reports_consistent_parameters_file_size_and_memory_peaks(
    planned: Callable[..., dict[str, dict]],
) -> None:
    found = planned("--methods", "lora,ia3")
    assert set(found) == {"lora", "ia3"}
    for entry in found.values():
        assert sum(entry["breakdown"].values()) == entry["peak_train_bytes"]
        assert 0 < entry["trainable_params"] * 4 <= entry["checkpoint_bytes"]
        assert entry["peak_eval_bytes"] < entry["peak_train_bytes"]
        assert entry["fits"] is None


def test_a_memory_limit_decides_fit_and_checkpointing_lowers_the_peak(planned: Callable[..., dict[str, dict]]) -> None:
    plain = planned("--methods", "lora", "--device", "cpu")["lora"]
    less = planned("--methods", "lora", "--device", "cpu", "--checkpointing")["lora"]
    assert less["peak_train_bytes"] < plain["peak_train_bytes"]
    assert planned("--methods", "lora", "--max-memory", "1kB")["lora"]["fits"] is False
    assert planned("--methods", "lora", "--max-memory", "1TB")["lora"]["fits"] is True


def test_memory_settings_are_counted_and_named_where_they_fit(
    config: str, planned: Callable[..., dict[str, dict]], tmp_path: Path
) -> None:
    Path(config).write_text(json.dumps({**LLAMA, "vocab_size": 8_000, "num_hidden_layers": 6}))
    asked = ("--methods", "lora", "--seq-len", "250", "--device", "cpu")
    peaks = {
        memory: planned(*asked, "--memory", memory)["lora"]["peak_train_bytes"]
        for memory in ("plain", "fast", "lean", "minimal")
    }
    assert sorted(set(peaks.values()), reverse=True) == list(peaks.values())
    limit = f"{peaks['lean']}B"
    entry = planned(*asked, "--max-memory", limit)["lora"]
    assert (entry["memory"], entry["fits"], entry["fits_with"]) == ("plain", False, "lean")
    assert entry["peak_with_memory_bytes"]["lean"] == peaks["lean"]
    arguments = ("--model", config, *asked)
    assert "memory: lean" in _run(*arguments, "--max-memory", limit)[1]
    assert "memory: lean" in _run(*arguments, "--memory", "lean")[1]
    assert "take one" in _run(*arguments, "--memory", "lean", "--checkpointing")[1]
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.format(model=config).replace("batch_size: 3", "batch_size: 3, memory: minimal"))
    _, out = _run(str(study), "--json")
    assert {entry["memory"] for entry in json.loads(out[out.index("{") :])["methods"]} == {"minimal"}


def test_a_study_file_can_be_planned_directly(tmp_path: Path, config: str) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.format(model=config))
    code, out = _run(str(study), "--json")
    document = json.loads(out[out.index("{") :])
    assert code == 0
    assert {entry["name"] for entry in document["methods"]} == {"lora", "mine"}
    assert {(entry["batch_size"], entry["seq_len"]) for entry in document["methods"]} == {(3, 40)}


def test_a_quantized_base_takes_less_and_image_models_are_recognised(
    tmp_path: Path, planned: Callable[..., dict[str, dict]]
) -> None:
    plain, packed = (planned("--methods", "lora", *more)["lora"] for more in ([], ["--quantization", "nf4"]))
    assert packed["breakdown"]["weights"] < plain["breakdown"]["weights"]
    assert packed["trainable_params"] == plain["trainable_params"]
    image = tmp_path / "transformer.json"
    image.write_text(json.dumps(TRANSFORMER))
    code, out = _run("--json", "--model", str(image), "--methods", "lora", "--seq-len", "64")
    assert code == 0
    [entry] = json.loads(out)["methods"]
    assert entry["base"] == "Flux2Transformer2DModel, bfloat16"
    assert entry["peak_train_bytes"] > entry["peak_eval_bytes"] > 0


def test_optimizer_states_have_the_expected_relative_sizes(planned: Callable[..., dict[str, dict]]) -> None:
    held = {
        name: planned("--methods", "full", "--device", "cpu", "--optimizer", name)["full"]["live_train_bytes"]
        for name in ("adamw", "adamw-8bit", "sgd", "adafactor")
    }
    assert held["adafactor"] < held["sgd"] < held["adamw"]
    assert held["adamw-8bit"] < held["adamw"]


def test_throughput_gives_step_times_and_a_limit_gives_the_fitting_length(
    planned: Callable[..., dict[str, dict]],
) -> None:
    timed = planned("--methods", "lora", "--tflops", "2")["lora"]
    assert timed["step_time_s"] == timed["flops_per_step"] / 2e12
    long = ("--methods", "lora", "--device", "cpu", "--batch-size", "1", "--seq-len", "512")
    limit = planned(*long)["lora"]["peak_train_bytes"] - 1
    shorter = planned(*long, "--max-memory", f"{limit}B")["lora"]
    assert shorter["fits"] is False
    assert 256 < shorter["largest_seq_len"] < 512
    at_that = planned(*long[:-1], str(shorter["largest_seq_len"]), "--max-memory", f"{limit}B")["lora"]
    assert at_that["fits"] is True


def test_the_table_lists_every_method_and_whether_it_fits(config: str) -> None:
    code, out = _run("--model", config, "--methods", "lora,ia3", "--max-memory", "1GB")
    assert code == 0
    assert out.count("yes") == 2
    assert "lora" in out
    assert "ia3" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch-size", "0"], "batch-size"),
        (["--max-memory", "12"], "unit"),
        (["--methods", "lorra"], "did you mean 'lora'"),
        (["--dtype", "bf17"], "bf16"),
        (["--device", "gpu"], "accelerator"),
        (["--quantization", "nf5"], "did you mean 'nf4'"),
        (["--tflops", "0"], "tflops"),
        (["--optimizer", "adamw8bit"], "did you mean 'adamw-8bit'"),
        (["--memory", "chunked"], "plain"),
    ],
)
def test_an_invalid_request_reports_what_is_allowed(config: str, arguments: list[str], said: str) -> None:
    code, out = _run("--model", config, *arguments)
    assert code == 2
    assert said in out


def test_all_problems_are_reported_together() -> None:
    code, out = _run("--max-memory", "12", "--methods", "lorra")
    assert code == 2
    assert all(said in out for said in ("--model", "--max-memory", "--methods"))


def test_a_config_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"hello": 1}')
    code, out = _run("--model", str(path))
    assert code == 2
    assert "model_type" in out


def test_an_image_experiment_is_rejected_for_a_language_model(shared_data: Path, config: str) -> None:
    code, out = _run("--model", config, "--experiments", str(shared_data / "experiments" / "image-gen" / "lora"))
    assert code == 2
    assert "image-gen" in out


def test_each_experiment_is_planned_with_its_own_settings(shared_data: Path, config: str) -> None:
    code, out = _run(
        "--json", "--model", config, "--experiments", str(shared_data / "experiments" / "MetaMathQA" / "ia3")
    )
    assert code == 0
    told = json.loads(out[out.index("{") :])["methods"]
    assert {entry["experiment"] for entry in told} >= {"ia3/llama-3.2-3B-default", "ia3/llama-3.2-3B-lr_0.001"}
    assert {(entry["batch_size"], entry["seq_len"]) for entry in told} == {(4, 768)}


def test_a_folder_without_experiments_is_refused(tmp_path: Path, config: str) -> None:
    code, out = _run("--model", config, "--experiments", str(tmp_path))
    assert code == 2
    assert "no experiment folder" in out
