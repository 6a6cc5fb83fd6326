"""What is counted on shapes is what a real step holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from peftscope.footprint.counter import LEARNING_RATE, MAX_STEPS
from peftscope.footprint.estimate import footprint
from peftscope.footprint.query import FootprintQuery, Workload
from peftscope.measures.storage import LiveStorage, tensors_of
from peftscope.methods.build import BuildContext, build
from peftscope.methods.optimizers import OptimizerSettings
from peftscope.models.kinds.base import ModelProfile
from peftscope.models.kinds.causal_lm import label_losses
from peftscope.models.kinds.causal_lm.loss import try_label_losses
from peftscope.models.kinds.causal_lm.profile import CausalLMProfile
from peftscope.models.kinds.text_to_image.profile import TextToImageProfile
from peftscope.models.kinds.text_to_image.transformer import TransformerConfig
from peftscope.models.quantization import quantization_config
from peftscope.schema.study import MemorySetting, MethodSpec, TrainSpec
from peftscope.tasks.base import Batch
from peftscope.training.loop import Hooks, train_step
from peftscope.training.memory_settings import prepare

CONFIG = LlamaConfig(
    hidden_size=128, intermediate_size=352, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=1000, tie_word_embeddings=True,
)  # fmt: skip
SUBJECT = CausalLMProfile(config=CONFIG, dtype=torch.float32)
BATCH, LENGTH = 4, 64
TRANSFORMER: dict[str, Any] = {
    "num_layers": 1, "num_single_layers": 3, "attention_head_dim": 32, "num_attention_heads": 4,
    "joint_attention_dim": 96, "in_channels": 16, "axes_dims_rope": (8, 8, 8, 8), "guidance_embeds": False,
}  # fmt: skip
IMAGES = TextToImageProfile(
    config=TransformerConfig(class_name="Flux2Transformer2DModel", settings=TRANSFORMER),
    dtype=torch.float32,
    prompt_tokens=24,
)
METHODS = (
    "lora", "rslora", "dora", "oft", "ia3", "lily", "miss", "boft", "shira", "waveft", "hra", "vera", "fourierft",
    "beft", "ln-tuning", "prompt-tuning", "frod", "adamss", "full",
)  # fmt: skip


def _base(quantization: Literal["nf4", "int8"] | None, folder: Path) -> Any:
    base = AutoModelForCausalLM.from_config(CONFIG, dtype=torch.float32)
    if quantization is None:
        return base.eval()
    base.save_pretrained(folder)
    packing = quantization_config(quantization, torch.float32)
    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=packing, dtype=torch.float32).eval()


def _real_peak(name: str, train: TrainSpec, base: Any) -> int:
    """Over two steps of a model with values, as a run meters it."""
    ids = torch.randint(0, 1000, (BATCH, LENGTH))
    mask = torch.ones_like(ids)
    mask[0, -3:] = 0  # padding, as in every batch of unequal sequences
    return _metered(name, train, base, SUBJECT, {"input_ids": ids, "attention_mask": mask, "labels": ids})


def _metered(name: str, train: TrainSpec, base: Any, profile: ModelProfile, batch: Batch) -> int:
    torch.manual_seed(0)
    if isinstance(profile, CausalLMProfile):
        base.config.use_cache = False
    prepare(base, train)
    context = BuildContext(seed=0, max_steps=MAX_STEPS, learning_rate=LEARNING_RATE, warn=lambda line: None)
    built = build(base, MethodSpec(name=name), replace(context, task_type=profile.task_type))
    if train.saves_loss_memory and isinstance(profile, CausalLMProfile):
        assert try_label_losses(built.model) is None
    built.model.train()
    with LiveStorage([*tensors_of(built.model), *batch.values()]) as storage:
        optimizer = built.make_optimizer(OptimizerSettings(learning_rate=0.0))
        for step in (1, 2):
            train_step(built.model, profile, [batch], optimizer, train, step=step, hooks=Hooks(penalty=built.penalty))
    return storage.peak_bytes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_counted_storage_is_within_two_percent_of_a_real_step(name: str, checkpointing: bool, tmp_path: Path) -> None:
    train = TrainSpec(batch_size=BATCH, checkpointing=checkpointing)
    load = Workload(batch_size=BATCH, length=LENGTH, train=train, target="cpu", scoring=False)
    found = footprint(FootprintQuery(method=MethodSpec(name=name), profile=SUBJECT, workload=load))
    real = _real_peak(name, train, _base(None, tmp_path))
    assert found.live_train_bytes == pytest.approx(real, rel=0.02), found.reason


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("memory", ["fast", "lean", "minimal"])
@pytest.mark.parametrize("name", ["lora", "dora", "oft", "ia3", "lily", "prompt-tuning", "trainable-tokens", "full"])
def test_counted_storage_with_a_memory_setting_is_within_two_percent(
    name: str, memory: MemorySetting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_losses, "CHUNK_BYTES", 0)  # in two parts
    train = TrainSpec(batch_size=BATCH, memory=memory)
    load = Workload(batch_size=BATCH, length=LENGTH, train=train, target="cpu", scoring=False)
    found = footprint(FootprintQuery(method=MethodSpec(name=name), profile=SUBJECT, workload=load))
    real = _real_peak(name, train, _base(None, tmp_path))
    assert found.live_train_bytes == pytest.approx(real, rel=0.02), found.reason
    assert not any("train.memory" in note for note in found.notes)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize("name", ["lora", "oft", "lily"])
def test_counted_storage_on_a_quantized_base_is_within_two_percent(
    name: str, quantization: Literal["nf4", "int8"], tmp_path: Path
) -> None:
    train = TrainSpec(batch_size=BATCH)
    load = Workload(batch_size=BATCH, length=LENGTH, train=train, target="cpu", scoring=False)
    packed = replace(SUBJECT, quantization=quantization)
    found = footprint(FootprintQuery(method=MethodSpec(name=name), profile=packed, workload=load))
    real = _real_peak(name, train, _base(quantization, tmp_path))
    assert found.live_train_bytes == pytest.approx(real, rel=0.02), found.reason


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("setting", [{}, {"checkpointing": True}, {"memory": "lean"}])
@pytest.mark.parametrize("name", ["lora", "oft", "miss", "full"])
def test_counted_storage_of_an_image_model_is_within_two_percent(name: str, setting: dict[str, Any]) -> None:
    from diffusers import Flux2Transformer2DModel

    train = TrainSpec(batch_size=2, **setting)
    asked = Workload(batch_size=2, length=128, train=train, target="cpu", scoring=False)
    found = footprint(FootprintQuery(method=MethodSpec(name=name), profile=IMAGES, workload=asked))
    torch.manual_seed(0)
    base = Flux2Transformer2DModel(**TRANSFORMER).train()
    shapes = IMAGES.batch(2, 128)
    batch = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in shapes.items()}
    batch["noise"].normal_()
    assert found.live_train_bytes == pytest.approx(_metered(name, train, base, IMAGES, batch), rel=0.02), found.reason
