"""On the embedded real model, what is counted on shapes is what real steps hold."""

from __future__ import annotations

import pytest
import torch

from peftscope.footprint.counter import LEARNING_RATE, MAX_STEPS
from peftscope.footprint.estimate import footprint
from peftscope.footprint.query import FootprintQuery, Workload
from peftscope.measures.storage import LiveStorage, tensors_of
from peftscope.methods.build import BuildContext, build
from peftscope.methods.optimizers import OptimizerSettings
from peftscope.models.kinds.causal_lm.empty import read_config
from peftscope.models.kinds.causal_lm.loading import load
from peftscope.models.kinds.causal_lm.profile import CausalLMProfile
from peftscope.schema.study import MethodSpec, ModelSpec, TrainSpec
from peftscope.training.loop import Hooks, train_step

MODEL = ModelSpec(source="builtin:smollm2-135m", dtype="float32", device="cpu")
BATCH, LENGTH = 2, 48
TRAIN = TrainSpec(batch_size=BATCH)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    ["lora", "dora", "oft", "boft", "ia3", "lily", "miss", "vera", "fourierft", "beft", "prompt-tuning", "full"],
)
def test_counted_storage_on_smollm2_is_within_two_percent(name: str) -> None:
    profile = CausalLMProfile(config=read_config(MODEL.source), dtype=torch.float32)
    asked = Workload(batch_size=BATCH, length=LENGTH, train=TRAIN, target="cpu", scoring=False)
    found = footprint(FootprintQuery(method=MethodSpec(name=name), profile=profile, workload=asked))
    torch.manual_seed(0)
    context = BuildContext(
        seed=0, max_steps=MAX_STEPS, learning_rate=LEARNING_RATE, warn=lambda line: None, task_type="CAUSAL_LM"
    )
    built = build(load(MODEL).model, MethodSpec(name=name), context)
    ids = torch.randint(5, 40_000, (BATCH, LENGTH))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    batch["attention_mask"][0, -3:] = 0
    built.model.train()
    with LiveStorage([*tensors_of(built.model), *batch.values()]) as storage:
        optimizer = built.make_optimizer(OptimizerSettings(learning_rate=0.0))
        hooks = Hooks(penalty=built.penalty, after_step=built.after_step)
        for step in (1, 2):
            train_step(built.model, profile, [batch], optimizer, TRAIN, step=step, hooks=hooks)
    assert found.live_train_bytes == pytest.approx(storage.peak_bytes, rel=0.02)
    assert found.num_trainable_params == built.num_trainable_params
