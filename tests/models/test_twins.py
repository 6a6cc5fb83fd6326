"""Small models like a user's: of the same classes and names, and refused with a reason where there are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from peftscope.errors import ModelError
from peftscope.models.miniatures import images
from peftscope.models.miniatures.twins import LARGE, twin_of

LARGE_CONFIGS: dict[str, tuple[Any, str, str]] = {
    "llama": (
        transformers.LlamaConfig(vocab_size=128_256, num_key_value_heads=8, architectures=["LlamaForCausalLM"]),
        "language-model",
        "LlamaForCausalLM",
    ),
    "gemma3": (
        transformers.Gemma3TextConfig(architectures=["Gemma3ForCausalLM"]), "language-model", "Gemma3ForCausalLM"
    ),
    "mixtral": (
        transformers.MixtralConfig(architectures=["MixtralForCausalLM"]), "language-model", "MixtralForCausalLM"
    ),
    "bert": (transformers.BertConfig(architectures=["BertForMaskedLM"]), "classifier", "BertForSequenceClassification"),
    "t5": (
        transformers.T5Config(architectures=["T5ForConditionalGeneration"]),
        "encoder-decoder",
        "T5ForConditionalGeneration",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE_CONFIGS)
def test_a_large_model_is_made_small_and_reads_its_inputs(name: str, tmp_path: Path) -> None:
    config, capability, class_name = LARGE_CONFIGS[name]
    config.save_pretrained(tmp_path)
    twin = twin_of(str(tmp_path))
    model = twin.make()
    assert type(model).__name__ == class_name
    assert twin.capability == capability
    assert sum(parameter.numel() for parameter in model.parameters()) < LARGE
    assert torch.isfinite(twin.outputs(model, twin.batch(0, 2))).all()
    assert any(line.startswith("vocab_size 1280 instead of") for line in twin.shape)


def test_every_sort_of_block_stays_in_the_small_model(tmp_path: Path) -> None:
    config = transformers.Gemma3TextConfig(architectures=["Gemma3ForCausalLM"])
    config.save_pretrained(tmp_path)
    small: Any = twin_of(str(tmp_path)).make()
    assert set(small.config.layer_types) == set(config.layer_types)


def test_a_small_model_stays_as_it_is() -> None:
    twin = twin_of("builtin:nano-lm")
    assert twin.shape == ()
    assert type(twin.make()).__name__ == "LlamaForCausalLM"


@pytest.mark.parametrize("make", [images.transformer, images.unet])
def test_a_part_of_a_pipeline_is_found_in_its_folder(make: Any, tmp_path: Path) -> None:
    model: Any = make().make()
    part = make().part
    model.save_config(tmp_path / part)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "SomePipeline"}), "utf-8")
    twin = twin_of(str(tmp_path))
    assert twin.part == part
    assert type(twin.make()) is type(model)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no config.json"),
        ('{"model_type": "lama"}', "did you mean 'llama'?"),
        ('{"_class_name": "Flux3Transformer"}', "has no class 'Flux3Transformer'"),
        ('{"_class_name": "AutoencoderKL"}', "no small model of its sort runs"),
        ('{"_class_name": "FluxPipeline"}', "neither transformer nor UNet"),
        ('{"model_type": "llama", "hidden_size": "wide"}', "llama"),
        ('{"model_type": "clip"}', "no small model of its sort runs"),
    ],
)
def test_what_cannot_be_made_small_is_refused_with_the_reason(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, "utf-8")
    with pytest.raises(ModelError) as refused:
        twin_of(str(path))
    assert said in str(refused.value)


def test_nothing_is_loaded_or_run_of_a_config_with_code_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')", "utf-8")
    settings = {"model_type": "evil", "auto_map": {"AutoModelForCausalLM": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(settings), "utf-8")
    with pytest.raises(ModelError, match="model_type"):
        twin_of(str(tmp_path))
