"""The check of an accelerator: its page, its time limits, and all of it in small on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from peftscope.models.kinds.text_to_image.transformer import empty_transformer, read_transformer_config

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import plain_loop  # noqa: E402
from accelerator_parts import images, random_model, random_pipeline, ready_bench  # noqa: E402
from accelerator_parts.desk import Desk, Notes  # noqa: E402
from accelerator_parts.page import page, verdict  # noqa: E402
from accelerator_parts.parts import PARTS  # noqa: E402
from accelerator_parts.ready_bench import ReadyBench  # noqa: E402
from accelerator_parts.sizes import CARD, CPU  # noqa: E402
from accelerator_parts.speed import Compared, compare_scoring, compare_training, sizes_of, task_of  # noqa: E402
from speed_parts.bench import Bench  # noqa: E402
from speed_parts.peftscope_side import WORK  # noqa: E402
from speed_parts.training import settings  # noqa: E402

import accelerator  # noqa: E402

sys.path.remove(str(BENCHMARKS))

ROW = {"run": "lora | plain", "tokens/s": 12345.6, "off": None}
PART = {"seconds": 3.0, "failure": None, "problems": [], "rows": [ROW, {"run": "ia3", "off": 1.23456}]}
CARD_SEEN = {
    "device": "Some Card 80GB",
    "kind": "cuda",
    "date": "2026-11-27",
    "seconds": 400.0,
    "packages": {"python": "3.12.3"},
    "parts": {"memory": PART, "cpu": {**PART, "failure": "RuntimeError: no", "rows": []}},
}


def test_the_page_reports_which_devices_were_not_tested() -> None:
    told = page([CARD_SEEN], {"memory": "Peaks", "cpu": "Against the CPU", "demo": "The demo"})
    assert "| part | CPU | Some Card 80GB | XPU | MPS |" in told
    assert "| Peaks | not seen | ok | not seen | not seen |" in told
    assert "| Against the CPU | not seen | failed | not seen | not seen |" in told
    assert "| The demo | not seen | not seen | not seen | not seen |" in told
    assert "| lora / plain | 12,346 | – |" in told
    assert "| ia3 | – | 1.23 |" in told
    assert "- RuntimeError: no" in told


def test_a_part_is_ok_only_without_failures_and_problems() -> None:
    assert verdict(PART) == "ok"
    assert verdict({**PART, "problems": ["a"]}) == "1 problem"
    assert verdict({**PART, "problems": ["a", "b"]}) == "2 problems"
    assert verdict({**PART, "failure": "no time"}) == "failed"
    assert verdict(None) == "not seen"


def test_a_part_that_exceeds_its_time_limit_is_stopped() -> None:
    started = time.monotonic()
    with pytest.raises(accelerator.OutOfTime), accelerator.time_limit(0.05):
        time.sleep(5)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("sizes", [CARD, CPU])
def test_every_part_has_a_time_limit_within_the_budget(sizes: object) -> None:
    limits = sizes.limits_s  # type: ignore[attr-defined]
    assert set(limits) == set(PARTS)
    assert accelerator.BUDGET_S <= 480
    assert all(limit <= accelerator.BUDGET_S for limit in limits.values())


def test_the_committed_page_matches_the_committed_results() -> None:
    paths = sorted((BENCHMARKS / "accelerator").glob("*.json"))
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    assert "cpu" in {document["kind"] for document in documents}
    titles = {name: title for name, (title, _) in PARTS.items()}
    assert (BENCHMARKS / "accelerator.md").read_text(encoding="utf-8") == page(documents, titles)


class InProcess(ReadyBench):
    """Both sides in this process."""

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        *script, given, found = command
        job = json.loads(Path(given).read_text(encoding="utf-8"))
        result = plain_loop.run(job) if len(script) == 1 else WORK[script[1]](job)
        Path(found).write_text(json.dumps(result), encoding="utf-8")
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def compared(tmp_path: Path) -> Compared:
    """The comparison with the plain loop on a model of one layer that writes words its text has not."""
    shapes = {**CPU.shapes, "hidden_size": 64, "head_dim": 16, "num_hidden_layers": 1, "vocab_size": 1400}
    desk = Desk(folder=tmp_path, device="cpu", sizes=replace(CPU, shapes=shapes, length=32, speed_prompts=(3, 2)))
    random_model.write_config(desk.model, shapes)
    random_model.write_weights(desk.model, "cpu", torch.float32)
    task = task_of(desk)
    bench = InProcess(sizes=sizes_of(desk, task), folder=tmp_path / "bench", threads=1, device="cpu", dtype="float32")
    return Compared(desk=desk, notes=Notes(), bench=bench, task=task, facts=bench.facts(task, ["lora"]))


def test_training_and_scoring_are_compared_with_the_plain_loop(compared: Compared) -> None:
    compare_training(compared, "lora", scores=True)
    compare_scoring(compared, "base")
    rows = {row["run"]: row for row in compared.notes.rows}
    sides = ["plain loop", *settings()]
    scoring = [f"scoring {name}, {side}" for name in ("lora", "base") for side in ("plain loop", "peftscope")]
    assert list(rows) == [*(f"training lora, {side}" for side in sides), *scoring]
    assert all(row["times as fast"] > 0 for name, row in rows.items() if "plain loop" not in name)
    assert rows["training lora, plain"]["of plain's"] == 1
    assert 0 < rows["training lora, minimal"]["of plain's"] < 1
    assert [(rows[name]["same answers"], rows[name]["same tokens %"]) for name in scoring[1::2]] == [(3, 100)] * 2
    assert compared.notes.problems == []


def test_losses_unlike_the_plain_loops_are_a_problem(compared: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = InProcess.plain

    def other(self: Bench, **job: Any) -> dict[str, Any]:
        found = plain(self, **job)
        return {**found, "steps": [{**step, "loss": step["loss"] * 1.01} for step in found["steps"]]}

    monkeypatch.setattr(InProcess, "plain", other)
    compare_training(compared, "lora")
    assert len(compared.notes.problems) == len(settings())
    assert "lora, fast: losses differ from the plain loop's by 0.99%" in compared.notes.problems[1]


def test_a_waiting_process_runs_the_script_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready_bench, "PLAIN", "json")
    script = tmp_path / "plain_loop.py"
    script.write_text("import sys; print(__name__, *sys.argv[1:]); sys.exit(len(sys.argv))")
    bench = ReadyBench(sizes=None, folder=tmp_path)  # type: ignore[arg-type]
    bench.stand_by(plain=2, peftscope=0)
    bench.wait()
    processes = [process for _, process in bench.waiting]
    done = bench.run([str(script), "a", "b"])
    assert (done.returncode, done.stdout) == (3, "__main__ a b\n")
    bench.close()
    assert [process.returncode for process in processes] == [3, -9]


def test_every_token_of_the_random_model_has_a_text_of_its_own(compared: Compared) -> None:
    tokenizer = AutoTokenizer.from_pretrained(compared.desk.model)
    vocabulary = tokenizer.get_vocab()
    assert sorted(vocabulary.values()) == list(range(1400))
    assert len({tokenizer.decode([token]) for token in range(1280, 1400)}) == 120


def test_the_image_model_for_a_card_has_about_a_billion_parameters(tmp_path: Path) -> None:
    random_pipeline.write_configs(tmp_path / "pipeline", CARD.images.shapes, CARD.images.prompt_tokens)
    config = read_transformer_config(str(tmp_path / "pipeline"))
    assert config is not None
    model = empty_transformer(config, dtype=torch.bfloat16)
    assert 0.5e9 <= sum(parameter.numel() for parameter in model.parameters()) <= 1.05e9
    assert config.autoencoder == {}
    assert (config.prompt_tokens, config.pixels_per_token) == (512, 16)


def test_the_image_part_names_the_packages_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "find_spec", lambda name: None if name == "diffusers" else object())
    notes = Notes()
    images.images(Desk(folder=tmp_path, device="cpu", sizes=CPU), notes)
    assert notes.rows == [{"run": "images", "said": "diffusers not installed"}]
    assert notes.problems == []


@pytest.mark.parametrize(("measured", "problems"), [(100, 0), (110, 1)])
def test_a_peak_of_drawing_that_was_predicted_wrong_is_a_problem(tmp_path: Path, measured: int, problems: int) -> None:
    parts = {"weights": 90, "beside": 10, "allocator": 20}
    planned = {
        "live_train_bytes": 200, "peak_train_bytes": 220, "peak_eval_bytes": 120, "eval_breakdown": parts,
        "reason": None,
    }  # fmt: skip
    metrics = {
        "peak_train_memory_bytes": 200, "peak_train_reserved_bytes": 220, "peak_eval_memory_bytes": measured,
        "peak_eval_reserved_bytes": None, "eval_time_s": 2.0, "total_time_s": 9.0,
    }  # fmt: skip
    record: Any = SimpleNamespace(metrics=metrics, curve=[], spec=SimpleNamespace(method=SimpleNamespace(title="lora")))
    notes = Notes()
    images.against_plan(Desk(folder=tmp_path, device="cpu", sizes=CPU), notes, record, planned)
    assert len(notes.problems) == problems
    assert notes.rows[1]["images/s"] == CPU.images.pictures / 2.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_parts_of_the_check_are_ok_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "accelerator.py"), "--device", "cpu", "--output", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (tmp_path / "accelerator").glob("*.json")
    document = json.loads(found.read_text(encoding="utf-8"))
    assert {name: verdict(part) for name, part in document["parts"].items()} == dict.fromkeys(PARTS, "ok")
    assert (tmp_path / "accelerator.md").is_file()
