"""What is predicted agrees with what was measured on an accelerator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from peftscope.methods.published import method_name
from peftscope.models.empty import read_config
from peftscope.plan.footprint import Technique, Workload, footprint
from peftscope.plan.subject import TextSubject
from peftscope.spec.experiment import read_experiment, to_run_spec

SHARED = Path(__file__).parents[3] / "shared" / "data"
CONFIG = Path(__file__).parents[1] / "configs" / "llama-3.2-3b.json"
TOKENS = 705
"""Longest batch of the published runs; fitted on LoRA of rank 32 alone (``benchmarks/footprint_accuracy.py``)."""


@pytest.mark.skipif(not SHARED.exists(), reason=f"the benchmark's folders are not at {SHARED}")
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
def test_memory_parameters_and_file_are_those_of_the_published_run(name: str) -> None:
    published = SHARED / "published" / "MetaMathQA" / f"{name.replace('/', '--')}.json"
    measured = json.loads(published.read_text())["train_info"]
    experiment = read_experiment(SHARED / "experiments" / "MetaMathQA" / name)
    run = to_run_spec(experiment, method_name=method_name(experiment.peft_config, experiment.training_params))
    found = footprint(
        Technique(method=run.method, experiment=name),
        TextSubject(config=read_config(str(CONFIG)), dtype=torch.bfloat16),
        Workload(batch_size=4, length=TOKENS, train=run.train, eval_batch_size=50, eval_length=800),
    )
    assert found.reason is None
    assert found.peak_bytes == pytest.approx(measured["accelerator_memory_max"], rel=0.03)
    assert found.num_trainable_params == measured["num_trainable_params"]
    assert found.checkpoint_bytes == pytest.approx(measured["file_size"], rel=1e-4)
    assert found.breakdown is not None
    assert sum(vars(found.breakdown).values()) == found.peak_train_bytes
