"""What is predicted agrees with what was measured on an accelerator."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from peftscope.footprint.estimate import footprint
from peftscope.footprint.experiment import query_of
from peftscope.models.kinds.registry import profile_of
from peftscope.schema.study import ModelSpec
from peftscope.upstream.experiment import Experiment, read_experiment

SHARED = Path(__file__).parents[3] / "shared" / "data"
CONFIGS = Path(__file__).parents[1] / "configs"
TOKENS = 705
"""Longest batch of the published text runs; fitted on LoRA of rank 32 alone (``benchmarks/footprint_accuracy.py``)."""

needs_published = pytest.mark.skipif(not SHARED.exists(), reason=f"the benchmark's folders are not at {SHARED}")


@needs_published
@pytest.mark.parametrize(
    "name",
    [
        "lora/llama-3.2-3B-rank32",
        "ia3/llama-3.2-3B-default",
        "shira/llama-3.2-3B-lr_0.0003-random_seed_42",
        "waveft/llama-3.2-3B-n_frequency-5000",
        "boft/llama-3.2-3B-default",
    ],
)
def test_predicted_memory_parameters_and_file_size_match_the_published_run(name: str) -> None:
    measured, experiment = _published("MetaMathQA", name)
    query = query_of(experiment, profile_of(ModelSpec(source=str(CONFIGS / "llama-3.2-3b.json")), torch.bfloat16))
    found = footprint(replace(query, workload=replace(query.workload, length=TOKENS)))
    assert found.reason is None
    assert found.peak_bytes == pytest.approx(measured["accelerator_memory_max"], rel=0.03)
    assert found.num_trainable_params == measured["num_trainable_params"]
    assert found.checkpoint_bytes == pytest.approx(measured["file_size"], rel=1e-4)
    assert found.breakdown is not None
    assert found.breakdown.total() == found.peak_train_bytes


@needs_published
@pytest.mark.parametrize("name", ["lora", "boft", "psoft", "c3a"])
def test_an_image_run_is_predicted_without_any_fitted_parameter(name: str) -> None:
    measured, experiment = _published("image-gen", f"{name}/flux2-klein-default")
    found = footprint(
        query_of(experiment, profile_of(ModelSpec(source=str(CONFIGS / "flux2-klein-base-4b.json")), torch.bfloat16))
    )
    assert found.reason is None
    assert found.peak_train_bytes == pytest.approx(measured["accelerator_memory_max"], rel=0.03)
    assert found.num_trainable_params == measured["num_trainable_params"]
    assert found.num_total_params == measured["num_total_params"]
    assert found.checkpoint_bytes == pytest.approx(measured["file_size"], rel=1e-4)


def _published(task: str, name: str) -> tuple[dict[str, Any], Experiment]:
    file = SHARED / "published" / task / f"{name.replace('/', '--')}.json"
    return json.loads(file.read_text())["train_info"], read_experiment(SHARED / "experiments" / task / name)
