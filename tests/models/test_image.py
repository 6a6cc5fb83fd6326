"""Image models are known by their config, wherever it lies, and built without weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from peftscope.errors import ModelError
from peftscope.models.kinds.text_to_image.transformer import (
    empty_autoencoder,
    empty_transformer,
    read_transformer_config,
)

CONFIG = Path(__file__).parents[1] / "configs" / "flux2-klein-base-4b.json"


def test_flux2_klein_matches_its_published_parameter_count() -> None:
    config = read_transformer_config(str(CONFIG))
    assert config is not None
    model = empty_transformer(config, dtype=torch.bfloat16)
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_875_544_576
    assert {(parameter.device.type, parameter.dtype) for parameter in model.parameters()} == {("meta", torch.bfloat16)}


def test_flux2_klein_is_counted_with_its_own_autoencoder(tmp_path: Path) -> None:
    config = read_transformer_config(str(CONFIG))
    assert config is not None
    assert config.autoencoder is not None
    model = empty_autoencoder(config.autoencoder, dtype=torch.bfloat16)
    assert sum(parameter.numel() for parameter in model.parameters()) == 84_046_115
    settings = {**json.loads(CONFIG.read_text()), "in_channels": 16}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    other = read_transformer_config(str(tmp_path))
    assert other is not None
    assert other.autoencoder is None


@pytest.mark.parametrize("place", ["transformer/config.json", "config.json"])
def test_a_pipeline_folder_and_a_transformer_folder_are_both_accepted(tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(CONFIG.read_text())
    (tmp_path / "model_index.json").write_text('{"_class_name": "Flux2KleinPipeline"}')
    found = read_transformer_config(str(tmp_path))
    assert found is not None
    assert found.class_name == "Flux2Transformer2DModel"


def test_a_language_model_is_not_read_as_an_image_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert read_transformer_config(str(tmp_path)) is None
    assert read_transformer_config("builtin:nano-lm") is None


def test_an_unknown_image_model_is_rejected_with_the_supported_ones(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusion3Pipeline"}')
    with pytest.raises(ModelError, match="Flux2Transformer2DModel"):
        read_transformer_config(str(tmp_path))
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    assert read_transformer_config(str(tmp_path)) is None  # it is trained, and its sizes are not predicted


def test_an_autoencoder_of_endless_depth_is_refused() -> None:
    with pytest.raises(ModelError, match="layers_per_block is 1,000,000,000"):
        empty_autoencoder({"layers_per_block": 10**9}, dtype=torch.bfloat16)


def test_settings_unknown_to_the_model_class_are_rejected(tmp_path: Path) -> None:
    settings = {**json.loads(CONFIG.read_text()), "num_layres": 3}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    config = read_transformer_config(str(tmp_path))
    assert config is not None
    with pytest.raises(ModelError, match="num_layres"):
        empty_transformer(config, dtype=torch.bfloat16)
