"""A LoRA in the layout of diffusers or of kohya's trainers, loaded by diffusers, draws what the original draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import peftscope as ps
import tiny_pipelines
from peftscope.errors import ModelError
from peftscope.methods import checkpoint
from peftscope.methods.build import BuildContext, build
from peftscope.methods.catalog import card
from peftscope.models.kinds.text_to_image.kind import TextToImage
from peftscope.schema.study import MethodSpec, ModelSpec

pytestmark = [pytest.mark.filterwarnings("ignore")]

Pipeline = Callable[[Path], Path]


def _adapter(base: Path, folder: Path) -> Path:
    """An adapter that does something: its weights are disturbed."""
    spec = ModelSpec(source=str(base), device="cpu")
    torch.manual_seed(0)
    context = BuildContext(seed=0, max_steps=1, learning_rate=1e-3, warn=lambda line: None)
    built = build(TextToImage().load(spec).model, MethodSpec(name="lokr", knobs={"r": 4}), context)
    for parameter in built.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.2 * torch.randn_like(parameter)
    checkpoint.save(built, folder, base=str(base))
    return folder


def _drawn(pipeline: Any) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    layers = {"text_encoder_out_layers": (1, 1, 1)} if hasattr(pipeline, "transformer") else {}
    found = pipeline(
        **layers,
        prompt="a red ball", height=32, width=32, num_inference_steps=2, guidance_scale=2.0, output_type="pt",
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    pictures: torch.Tensor = found.images
    return pictures


@pytest.mark.parametrize(
    ("make", "layout"),
    [
        (tiny_pipelines.flux2_folder, "diffusers"),
        (tiny_pipelines.stable_diffusion_folder, "diffusers"),
        (tiny_pipelines.stable_diffusion_folder, "kohya"),
    ],
)
def test_diffusers_draws_with_it_what_the_original_adapter_draws(make: Pipeline, layout: str, tmp_path: Path) -> None:
    from diffusers import DiffusionPipeline

    base = make(tmp_path / "base")
    adapter = _adapter(base, tmp_path / "adapter")
    found = ps.convert(adapter, tmp_path / "out", rank=256, format=layout)
    assert found.conversion.verdict == "unchecked"  # a foreign adapter of pictures has no inputs to compare on
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".md", ".safetensors"]

    plain, loaded, original = (DiffusionPipeline.from_pretrained(base) for _ in range(3))
    (weights,) = (tmp_path / "out").glob("*.safetensors")
    loaded.load_lora_weights(str(tmp_path / "out"), weight_name=weights.name)
    part = "unet" if hasattr(original, "unet") else "transformer"
    setattr(original, part, checkpoint.load(getattr(original, part), adapter, card("lokr")))
    wanted = _drawn(original)
    assert (wanted - _drawn(plain)).abs().max() > 0.01
    assert torch.allclose(_drawn(loaded), wanted, atol=1e-3)


def test_a_layout_that_is_not_for_the_model_is_refused_before_anything_is_converted(tmp_path: Path) -> None:
    base = tiny_pipelines.flux2_folder(tmp_path / "base")
    with pytest.raises(ModelError, match=r"names the modules of a UNet.*take diffusers"):
        ps.convert(_adapter(base, tmp_path / "adapter"), tmp_path / "out", format="kohya")
    assert not (tmp_path / "out").exists()
