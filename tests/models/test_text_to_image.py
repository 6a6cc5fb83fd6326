"""The kind text-to-image on pipelines of random weights: the same path real ones take."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

import tiny_pipelines
from peftscope.errors import ModelError
from peftscope.execution.execute import execute
from peftscope.models import source as sources
from peftscope.models.kinds.text_to_image.kind import TextToImage
from peftscope.models.kinds.text_to_image.pipeline import Drawing, ImagePipeline, NoiseLevels, Prompts
from peftscope.schema.run import RunSpec
from peftscope.schema.study import ModelSpec
from peftscope.tuning.preflight import check

FAMILIES: dict[str, Callable[[Path], Path]] = {
    "flux2": tiny_pipelines.flux2_folder,
    "stable-diffusion": tiny_pipelines.stable_diffusion_folder,
    "stable-diffusion-v": lambda folder: tiny_pipelines.stable_diffusion_folder(folder, prediction="v_prediction"),
    "stable-diffusion-xl": tiny_pipelines.stable_diffusion_xl_folder,
}
PROMPTS = ["a dog on the beach", "a cat"]
HOW = Drawing(side=32, steps=2, guidance=3.0, batch_size=2)


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[request.param](tmp_path_factory.mktemp("pipelines") / request.param)


@pytest.fixture(scope="module")
def flux2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.flux2_folder(tmp_path_factory.mktemp("pipelines") / "flux2")


def pipeline_of(folder: Path) -> ImagePipeline:
    processor = TextToImage().inspect(ModelSpec(source=str(folder), device="cpu")).processor
    assert isinstance(processor, ImagePipeline)
    return processor


def rows(prompts: Prompts, *numbers: int) -> Prompts:
    return {key: value[list(numbers)] for key, value in prompts.items()}


def test_pictures_are_those_the_pipeline_itself_draws(folder: Path) -> None:
    kind = TextToImage()
    loaded = kind.load(ModelSpec(source=str(folder), device="cpu"))
    prompts = pipeline_of(folder).encode_prompts([*PROMPTS, ""])
    drawn = kind.predictor(loaded, lambda *_: None)(loaded.model, rows(prompts, 0, 1), rows(prompts, 2), [5, 6], HOW)
    whole: Any = diffusers.DiffusionPipeline.from_pretrained(folder)
    whole.set_progress_bar_config(disable=True)
    layers = {"text_encoder_out_layers": (1, 2, 3), "max_sequence_length": 24} if "flux2" in folder.name else {}
    expected = whole(
        prompt=PROMPTS,
        generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)],
        height=32,
        width=32,
        num_inference_steps=2,
        guidance_scale=3.0,
        output_type="np",
        **layers,
    ).images
    assert drawn.shape == (2, 32, 32, 3)
    assert np.abs(drawn.numpy() / 255.0 - expected).max() <= 1.01 / 255


def test_a_seed_gives_the_same_picture_alone_and_among_others(folder: Path) -> None:
    kind = TextToImage()
    loaded = kind.load(ModelSpec(source=str(folder), device="cpu"))
    prompts = pipeline_of(folder).encode_prompts([*PROMPTS, ""])
    draw = kind.predictor(loaded, lambda *_: None)
    together = draw(loaded.model, rows(prompts, 0, 1), rows(prompts, 2), [1, 2], HOW)
    alone = draw(loaded.model, rows(prompts, 1), rows(prompts, 2), [2], HOW)
    other = draw(loaded.model, rows(prompts, 1), rows(prompts, 2), [3], HOW)
    assert (together[1].int() - alone[0].int()).abs().max() <= 1
    assert not torch.equal(alone, other)


def test_a_method_learns_on_the_denoiser_alone(folder: Path) -> None:
    pipeline = pipeline_of(folder)
    model: Any = get_peft_model(
        TextToImage().load(ModelSpec(source=str(folder), device="cpu")).model,  # type: ignore[arg-type]
        LoraConfig(target_modules=["to_q", "to_v"]),
    )
    latents = pipeline.encode_pictures(torch.rand(2, 3, 32, 32) * 2 - 1)
    prompts = pipeline.encode_prompts(PROMPTS)
    batch = pipeline.batch(latents, prompts, NoiseLevels(), torch.Generator().manual_seed(0))
    loss, count = pipeline.loss(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert count == latents.numel()
    assert all(p.grad is not None for name, p in model.named_parameters() if "lora_B" in name)


class Knowing(nn.Module):
    """A denoiser that says what a batch wants to hear."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *args: Any, **named: Any) -> tuple[Tensor]:
        return (self.answer,)


def test_who_knows_the_noise_has_no_loss(folder: Path) -> None:
    pipeline = pipeline_of(folder)
    latents = pipeline.encode_pictures(torch.rand(2, 3, 32, 32) * 2 - 1)
    batch = pipeline.batch(latents, pipeline.encode_prompts(PROMPTS), NoiseLevels(), torch.Generator().manual_seed(0))
    answer = batch["noise"] - batch["latents"] if "noise" in batch else batch["target"]
    assert pipeline.loss(Knowing(answer), batch)[0] == 0
    assert pipeline.loss(Knowing(answer + 1), batch)[0] == latents.numel()


def test_a_generator_decides_noise_and_levels(folder: Path) -> None:
    pipeline = pipeline_of(folder)
    latents = pipeline.encode_pictures(torch.rand(2, 3, 32, 32) * 2 - 1)
    prompts = pipeline.encode_prompts(PROMPTS)

    def batch(seed: int) -> dict[str, Any]:
        return pipeline.batch(latents, prompts, NoiseLevels(), torch.Generator().manual_seed(seed))

    one, same, other = batch(0), batch(0), batch(1)
    assert all(torch.equal(one[key], same[key]) for key in one)
    level = "sigmas" if "sigmas" in one else "timesteps"
    assert not torch.equal(one[level], other[level])


def test_velocity_is_what_a_pipeline_of_that_kind_is_asked_for(tmp_path: Path) -> None:
    batches = {}
    for prediction in ("epsilon", "v_prediction"):
        pipeline = pipeline_of(tiny_pipelines.stable_diffusion_folder(tmp_path / prediction, prediction=prediction))
        latents = torch.ones(1, 4, 16, 16)
        prompts = pipeline.encode_prompts(["a dog"])
        batches[prediction] = pipeline.batch(latents, prompts, NoiseLevels(), torch.Generator().manual_seed(0))
    noise, timestep = batches["epsilon"]["target"], batches["epsilon"]["timesteps"]
    kept = diffusers.DDPMScheduler().alphas_cumprod[timestep].sqrt()
    lost = (1 - kept**2).sqrt()
    assert torch.allclose(batches["epsilon"]["noisy"], kept + lost * noise, atol=1e-5)
    assert torch.allclose(batches["v_prediction"]["target"], kept * noise - lost, atol=1e-5)


@pytest.mark.parametrize("scheme", ["none", "logit_normal", "mode", "sigma_sqrt", "cosmap"])
def test_noise_levels_are_those_of_the_schedulers_ladder(flux2: Path, scheme: Any) -> None:
    pipeline = pipeline_of(flux2)
    prompts = {"prompts": torch.zeros(64, 4, 48)}
    batch = pipeline.batch(
        torch.zeros(64, 16, 16), prompts, NoiseLevels(scheme=scheme), torch.Generator().manual_seed(0)
    )
    ladder = pipeline.scheduler.sigmas
    assert all((ladder - sigma).abs().min() == 0 for sigma in batch["sigmas"])
    assert batch["weights"].shape == (64,)
    assert torch.equal(batch["weights"], torch.ones(64)) == (scheme in ("none", "logit_normal", "mode"))


def test_prompts_are_encoded_without_the_other_parts(flux2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in (diffusers.AutoencoderKLFlux2, diffusers.Flux2Transformer2DModel):
        monkeypatch.setattr(part, "from_pretrained", lambda *_, **__: pytest.fail("loaded what is not needed"))
    assert pipeline_of(flux2).encode_prompts(PROMPTS)["prompts"].shape == (2, 24, 48)


def test_layers_and_length_of_prompts_can_be_chosen(flux2: Path) -> None:
    pipeline = pipeline_of(flux2)
    own = pipeline.encode_prompts(["a dog"])
    assert own["prompts"].shape == (1, 24, 48)
    assert torch.equal(pipeline.encode_prompts(["a dog"], layers=(1, 2, 3))["prompts"], own["prompts"])
    assert not torch.equal(pipeline.encode_prompts(["a dog"], layers=(2, 3, 4))["prompts"], own["prompts"])
    assert pipeline.encode_prompts(["a dog"], max_tokens=12)["prompts"].shape == (1, 12, 48)


def test_a_distilled_pipeline_is_drawn_as_one(flux2: Path, tmp_path: Path) -> None:
    distilled = tmp_path / "distilled"
    shutil.copytree(flux2, distilled)
    index = json.loads((distilled / "model_index.json").read_text("utf-8"))
    (distilled / "model_index.json").write_text(json.dumps({**index, "is_distilled": True}), "utf-8")
    drawn = []
    for place in (flux2, distilled):
        loaded = TextToImage().load(ModelSpec(source=str(place), device="cpu"))
        prompts = loaded.processor.encode_prompts(["a dog", ""])
        draw = TextToImage().predictor(loaded, lambda *_: None)
        unguided = Drawing(side=32, steps=2, guidance=1.0)
        drawn.append([draw(loaded.model, rows(prompts, 0), rows(prompts, 1), [0], how) for how in (unguided, HOW)])
    assert torch.equal(drawn[0][0], drawn[1][1])
    assert not torch.equal(drawn[0][1], drawn[1][1])
    assert pipeline_of(flux2).files.settings_sha256 != pipeline_of(distilled).files.settings_sha256


def test_the_hub_is_asked_for_the_parts_that_are_loaded(flux2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def snapshot(source: str, **named: Any) -> str:
        asked.append({"source": source, **named})
        return str(flux2)

    monkeypatch.setattr(sources, "snapshot_download", snapshot)
    found = pipeline_of(Path("somebody/some-pipeline"))
    assert found.files.revision == flux2.name
    assert asked[0]["source"] == "somebody/some-pipeline"
    wanted = asked[1]["allow_patterns"]
    assert {"transformer/*.safetensors", "vae/*.safetensors", "text_encoder/*.safetensors"} <= set(wanted)
    assert asked[1]["revision"] == flux2.name


def test_what_is_no_image_pipeline_is_refused_by_name(flux2: Path, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model_index\.json"):
        pipeline_of(saved)
    other = tmp_path / "other"
    shutil.copytree(flux2, other)
    index = json.loads((other / "model_index.json").read_text("utf-8"))
    (other / "model_index.json").write_text(json.dumps({**index, "_class_name": "WanPipeline"}), "utf-8")
    with pytest.raises(ModelError, match=r"unknown image pipeline 'WanPipeline'.*Flux2KleinPipeline"):
        pipeline_of(other)
    (other / "model_index.json").write_text("{", "utf-8")
    with pytest.raises(ModelError, match="not readable"):
        pipeline_of(other)


def test_a_missing_or_damaged_part_is_named(flux2: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(flux2, cut)
    weights = cut / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cut off or damaged"):
        pipeline_of(cut)
    weights.unlink()
    with pytest.raises(ModelError, match="transformer has no plain safetensors"):
        pipeline_of(cut)
    shutil.copy(flux2 / "transformer" / weights.name, weights.with_suffix(".fp16.safetensors"))
    with pytest.raises(ModelError, match="Variants such as fp16 are not taken"):
        pipeline_of(cut)
    shutil.rmtree(cut / "transformer")
    with pytest.raises(ModelError, match="no folder transformer"):
        pipeline_of(cut)
    with pytest.raises(ModelError, match="quantized"):
        TextToImage().inspect(ModelSpec(source=str(flux2), quantization="nf4"))


def test_what_decides_pictures_is_in_the_hash_and_what_is_never_used_is_not(flux2: Path, tmp_path: Path) -> None:
    def files(change: Callable[[Path], Any]) -> Any:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(flux2, place)
        change(place)
        return pipeline_of(place).files

    def rewrite(path: Path, **changes: Any) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")

    same = files(lambda _: None)
    other_class = files(lambda place: rewrite(place / "scheduler" / "scheduler_config.json", _class_name="Other"))
    template = files(lambda place: (place / "tokenizer" / "chat_template.jinja").write_text("{{ messages }}", "utf-8"))
    version = files(lambda place: rewrite(place / "vae" / "config.json", _diffusers_version="9"))
    assert len({found.settings_sha256 for found in (same, other_class, template)}) == 3
    assert version.settings_sha256 == same.settings_sha256

    def with_checker(place: Path) -> None:
        shutil.copytree(place / "vae", place / "safety_checker")
        rewrite(place / "model_index.json", safety_checker=["diffusers", "Checker"])

    checked = files(with_checker)
    assert (checked.weights_sha256, checked.settings_sha256) == (same.weights_sha256, same.settings_sha256)


def test_a_study_of_any_family_is_checked_before_it_runs(folder: Path, tmp_path: Path) -> None:
    photos = tiny_pipelines.noise_photos(tmp_path / "photos", 6)
    options = {"source": str(photos), "resolution": 32, "train_size": 2, "valid_size": 2, "test_size": 2}
    fast = {"num_inference_steps": 1, "encoder_size": 32, "drift_prompts": [], "class_prompts": []}
    run = RunSpec(
        model={"source": str(folder), "device": "cpu"},
        task={"name": "concept", **options, **fast},
        method="lora",
        learning_rate=1e-3,
        seed=0,
        train={"max_steps": 1, "batch_size": 2},
    )
    checked = check([run], tmp_path)
    assert checked.sizes == {"train": 2, "valid": 2, "test": 2}
    assert bool(checked.forecasts) == ("flux2" in folder.name)  # sizes of the others are not predicted
    record = execute(run, tmp_path, cached=checked.cached)
    assert record.status == "ok", record.reason
    assert record.metrics["test_score"] is not None
    assert {artefact.name for artefact in record.artefacts} == {"samples", "test"}
    assert all((tmp_path / artefact.path).is_file() for artefact in record.artefacts)
