"""Fixtures for all tests: tiny models and data on disk for whole runs in seconds, and where the real data are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import tiny
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MeasureSpec, TrainSpec

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with BOS and EOS and no pad token."""
    return tiny.tiny_tokenizer()


@pytest.fixture
def tiny_llama() -> Callable[..., LlamaForCausalLM]:
    """Makes a tiny Llama; see ``tiny.tiny_llama``."""
    return tiny.tiny_llama


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no {SHARED_DATA}: the real data sets are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a tokenizer in it, as a hub would give it."""
    folder = tmp_path_factory.mktemp("tiny-model")
    tiny.tiny_llama().save_pretrained(folder)
    tiny.tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sums_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty sums with worked answers, and a general text beside them."""
    folder = tmp_path_factory.mktemp("sums")
    rows = [
        {"question": f"What is {a} and {b}?", "answer": f"{a} + {b} = {a + b}\n#### {a + b}"}
        for a in range(8)
        for b in range(5)
    ]
    (folder / "sums.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (folder / "general.txt").write_text("\n\n".join("Once upon a time there was a fox. " * 5 for _ in range(8)))
    return folder / "sums.jsonl"


@pytest.fixture(scope="session")
def make_run(tiny_folder: Path, sums_file: Path) -> Callable[..., RunSpec]:
    """Makes runs on the tiny model: ``make_run("lora", seed=1, train={...}, task={...}, measure={...})``."""

    def make(
        method: str | dict[str, Any] = "lora", *, rate: float | None = 1e-3, seed: int = 0, **parts: Any
    ) -> RunSpec:
        task = {
            "name": "math",
            "source": "files",
            "train": str(sums_file),
            "valid_size": 4,
            "test_size": 6,
            "max_new_tokens": 6,
            "eval_batch_size": 3,
            "max_length": 160,
            "general_tokens": 200,
            "general_text": str(sums_file.with_name("general.txt")),
        }
        return RunSpec(
            model=str(tiny_folder),
            task={**task, **parts.get("task", {})},
            method=method,
            learning_rate=rate,
            seed=seed,
            train=TrainSpec(**{"max_steps": 3, **parts.get("train", {})}),
            measure=MeasureSpec(**{"latency": False, **parts.get("measure", {})}),
        )

    return make
