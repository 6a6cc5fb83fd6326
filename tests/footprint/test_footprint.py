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
from peftscope.footprint.query import FootprintQuery, Workload
from peftscope.models.kinds.registry import profile_of
from peftscope.schema.study import MethodSpec, ModelSpec, TrainSpec
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


def test_weights_that_a_method_moves_to_the_host_are_not_counted_on_the_accelerator() -> None:
    """FRoD computes with factors of the targeted weights. The published run's peak: 10.7 GB; before, 16.7 were told."""
    targets = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    config = {
        "peft_type": "FROD",
        "sparse_rate": 0.01,
        "save_projection": True,
        "target_modules": [*targets, "to_qkv_mlp_proj", "linear_in", "linear_out"],
    }
    profile = profile_of(ModelSpec(source=str(CONFIGS / "flux2-klein-base-4b.json")), torch.bfloat16)
    workload = Workload(batch_size=2, length=512, train=TrainSpec(batch_size=2, checkpointing=True))
    peaks = {}
    for offload in (True, False):
        method = MethodSpec(name="frod", peft_config={**config, "runtime_offload_base_weight": offload})
        found = footprint(FootprintQuery(method=method, profile=profile, workload=workload))
        assert found.peak_train_bytes is not None
        peaks[offload] = found.peak_train_bytes
    assert peaks[True] == pytest.approx(10.7e9, rel=0.03)
    assert peaks[False] - peaks[True] > 5e9


def test_memory_settings_take_three_quarters_a_half_and_a_third_of_plain() -> None:
    """The marks of ``benchmarks/training_memory.py``, for LoRA of rank 32 on queries and values."""
    method = MethodSpec(name="lora", targets=("q_proj", "v_proj"))
    _, plain = _peak_and_above_base(method, "plain")
    for memory, share, most in (("fast", 0.75, 17.5e9), ("lean", 0.5, 13e9), ("minimal", 0.3, 8e9)):
        peak, above = _peak_and_above_base(method, memory)
        assert above <= share * plain
        assert peak <= most


def test_lean_keeps_less_than_half_of_plain_where_adapters_are_rotations_too() -> None:
    """Short products of small blocks are computed again: kept, they took more than ``fast`` does without them."""
    (_, lean), (_, plain) = (_peak_and_above_base(MethodSpec(name="oft"), memory) for memory in ("lean", "plain"))
    assert lean <= 0.5 * plain


def _peak_and_above_base(method: MethodSpec, memory: str) -> tuple[int, int]:
    """Bytes of a step on Llama-3.2-3B in all, and above its weights."""
    profile = profile_of(ModelSpec(source=str(CONFIGS / "llama-3.2-3b.json")), torch.bfloat16)
    load = Workload(batch_size=4, length=512, train=TrainSpec(memory=memory), scoring=False)  # type: ignore[arg-type]
    found = footprint(FootprintQuery(method=method, profile=profile, workload=load))
    assert found.peak_train_bytes is not None
    assert found.breakdown is not None
    return found.peak_train_bytes, found.peak_train_bytes - found.breakdown.weights


def _published(task: str, name: str) -> tuple[dict[str, Any], Experiment]:
    file = SHARED / "published" / task / f"{name.replace('/', '--')}.json"
    return json.loads(file.read_text())["train_info"], read_experiment(SHARED / "experiments" / task / name)
