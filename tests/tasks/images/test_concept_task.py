"""The task concept: pictures and prompts that stay together, scores by prompt and noise, what is told beside."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import tiny_pipelines
from peftscope.errors import DataError, SpecError
from peftscope.models.kinds.base import LoadedModel
from peftscope.models.kinds.text_to_image.generator import ImageGenerator
from peftscope.models.kinds.text_to_image.kind import TextToImage
from peftscope.models.kinds.text_to_image.pipeline import ImagePipeline
from peftscope.schema.study import ModelSpec, TaskSpec
from peftscope.tasks.base import TaskContext
from peftscope.tasks.images import sources
from peftscope.tasks.images.concept import ConceptTask
from peftscope.tasks.images.encoders import encoder, fit_to_prompts
from peftscope.tasks.images.picture_facts import Looks, copied_share, diversity
from peftscope.tasks.registry import cache_task, create

SMALL = {
    "resolution": 32,
    "train_size": 3,
    "valid_size": 2,
    "test_size": 3,
    "num_inference_steps": 1,
    "encoder_size": 32,
    "drift_prompts": ["a chair", "a tree"],
    "class_prompts": ["a dog"],
    "sample_prompts": ["sks dog", "a chair"],
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tiny_pipelines.flux2_folder(tmp_path_factory.mktemp("pipeline") / "flux2")
    return TextToImage().load(ModelSpec(source=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures, each of its own colours, with prompts beside them."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(8):
        generator = torch.Generator().manual_seed(number)
        coarse = torch.randint(0, 256, (5, 6, 3), generator=generator, dtype=torch.uint8)
        picture = Image.fromarray(coarse.numpy()).resize((60, 50), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"sks dog number {number}", "utf-8")
    return folder


def task_of(loaded: LoadedModel, source: Path | str, **options: Any) -> ConceptTask:
    context = TaskContext(processor=loaded.processor, kind="text-to-image", batch_size=2)
    spec = TaskSpec(name="concept", options={"source": str(source), **SMALL, **options})
    task = create(spec, context)
    assert isinstance(task, ConceptTask)
    return task


@pytest.fixture(scope="module")
def task(loaded: LoadedModel, photos: Path) -> ConceptTask:
    return task_of(loaded, photos)


@pytest.fixture(scope="module")
def generator(loaded: LoadedModel) -> ImageGenerator:
    return TextToImage().predictor(loaded, lambda *_: None)


def test_a_picture_is_trained_on_with_its_own_prompt(task: ConceptTask, loaded: LoadedModel, photos: Path) -> None:
    seen = set()
    for batch in islice(task.batches(0), 6):
        for name, states in zip(batch["pictures"], batch["prompts"]):
            expected = loaded.processor.encode_prompts([(photos / name).with_suffix(".txt").read_text("utf-8")])
            assert torch.equal(states, expected["prompts"][0])
            seen.add(name)
    assert len(seen) == task.size("train") == 3


def test_a_seed_decides_order_and_noise(task: ConceptTask) -> None:
    one, same, other = (list(islice(task.batches(seed), 4)) for seed in (0, 0, 1))
    assert [batch["pictures"] for batch in one] == [batch["pictures"] for batch in same]
    assert all(torch.equal(a["noise"], b["noise"]) for a, b in zip(one, same))
    assert not torch.equal(one[0]["noise"], other[0]["noise"])
    assert not torch.equal(one[0]["noise"], one[2]["noise"])


def test_the_held_out_loss_sees_the_same_noise_for_every_method(task: ConceptTask) -> None:
    one, same = list(task.eval_batches("valid")), list(task.eval_batches("valid"))
    assert all(torch.equal(a["noise"], b["noise"]) and torch.equal(a["sigmas"], b["sigmas"]) for a, b in zip(one, same))
    assert sum(task.num_samples(batch) for batch in one) == 16  # 2 pictures at 8 levels


def test_scores_are_of_prompts_with_their_draws(
    task: ConceptTask, loaded: LoadedModel, generator: ImageGenerator
) -> None:
    outcomes = task.score(loaded.model, generator, "test")
    assert [(o.example_id, o.draw) for o in outcomes] == [(f"test-{at:03d}", d) for at in range(3) for d in (0, 1)]
    assert all(-1 <= o.score <= 1 for o in outcomes)
    assert len({o.score for o in outcomes}) == 6
    again = task.score(loaded.model, generator, "test")
    assert [o.score for o in again] == [o.score for o in outcomes]
    facts = task.answer_facts("test", outcomes)
    assert set(facts) == {"copied_share", "diversity"}  # the classifier knows no word of these prompts
    assert facts["diversity"] > 0


def test_one_prompt_for_all_is_one_example_compared_with_every_held_out_picture(
    loaded: LoadedModel, photos: Path, generator: ImageGenerator
) -> None:
    task = task_of(loaded, photos, prompt="sks dog", test_prompts=["sks dog on a beach"], draws=1)
    assert (task.size("train"), task.size("valid"), task.size("test")) == (3, 1, 2)
    assert task.show("test", 1).target.count(",") == 2
    outcomes = task.score(loaded.model, generator, "test")
    assert len(outcomes) == 2
    assert "diversity" in task.answer_facts("test", outcomes)
    alone = task_of(loaded, photos, prompt="sks dog", draws=1)
    assert "diversity" not in alone.answer_facts("test", alone.score(loaded.model, generator, "test"))


def test_the_base_has_neither_drift_nor_bleed(task: ConceptTask, loaded: LoadedModel) -> None:
    retention = task.retention()
    assert retention is not None
    baseline = retention.baseline(loaded.model)
    found = retention.compare(loaded.model, baseline)
    assert found["image_drift"] == pytest.approx(0, abs=1e-6)
    assert found["class_bleed"] == pytest.approx(0, abs=1e-6)
    changed = TextToImage().load(ModelSpec(source=str(loaded.processor.files.folder), device="cpu")).model
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.mul_(1.5)
    assert retention.compare(changed, baseline)["image_drift"] > 1e-4


def test_without_prompts_of_other_things_drift_and_bleed_are_left_out(loaded: LoadedModel, photos: Path) -> None:
    assert task_of(loaded, photos, drift_prompts=[], class_prompts=[]).retention() is None
    only = task_of(loaded, photos, class_prompts=[]).retention()
    assert only is not None
    assert set(only.compare(loaded.model, only.baseline(loaded.model))) == {"image_drift"}


def test_a_kept_task_needs_neither_pictures_nor_text_encoder(
    task: ConceptTask, loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache_task(task, tmp_path)
    monkeypatch.setattr(sources, "read_concept", lambda *_, **__: pytest.fail("read the pictures"))
    monkeypatch.setattr(ImagePipeline, "with_parts", lambda *_: pytest.fail("loaded a part"))
    spec = TaskSpec(name="concept", options=task.options.model_dump(mode="json"))
    context = TaskContext(processor=loaded.processor, kind="text-to-image", batch_size=2)
    kept = create(spec, context, cached=folder)
    assert kept.fingerprint() == task.fingerprint()
    for one, same in zip(islice(task.batches(3), 3), islice(kept.batches(3), 3)):
        assert one["pictures"] == same["pictures"]
        assert all(torch.equal(one[key], same[key]) for key in ("latents", "noise", "prompts", "sigmas"))


def test_a_new_split_keeps_the_test_pictures_and_every_picture_once(loaded: LoadedModel, photos: Path) -> None:
    task = task_of(loaded, photos)
    before = task.fingerprint()
    test = [task.show("test", index) for index in range(task.size("test"))]
    trained = set()
    for seed in range(4):
        task.resplit(seed)
        names = {name for batch in islice(task.batches(0), 4) for name in batch["pictures"]}
        held_out = {name for batch in task.eval_batches("valid") for name in batch["pictures"]}
        assert (len(names), len(held_out), len(names | held_out)) == (3, 2, 5)
        trained.add(tuple(sorted(names)))
    assert len(trained) > 1
    assert [task.show("test", index) for index in range(task.size("test"))] == test
    assert task.fingerprint() == before


def test_pictures_or_prompts_that_change_are_other_data(loaded: LoadedModel, photos: Path, tmp_path: Path) -> None:
    prints = [task_of(loaded, photos).fingerprint(), task_of(loaded, photos, split_seed=1).fingerprint()]
    prints.append(task_of(loaded, photos, prompt="sks dog").fingerprint())
    prints.append(task_of(loaded, photos, num_inference_steps=2).fingerprint())
    assert len({repr(print_) for print_ in prints}) == 4


def test_sheets_hold_prompts_seeds_and_the_runs_id(
    task: ConceptTask, loaded: LoadedModel, generator: ImageGenerator, tmp_path: Path
) -> None:
    import io
    import json

    retention = task.retention()
    assert retention is not None
    baseline = retention.baseline(loaded.model)
    task.score(loaded.model, generator, "test")
    sheets = {s.name: s for s in task.samples(loaded.model, generator, baseline, "lora-1")}
    assert set(sheets) == {"samples", "test"}
    for name, columns in (("samples", ["base", "noise 0", "noise 1"]), ("test", ["real", "noise 0", "noise 1"])):
        with Image.open(io.BytesIO(sheets[name].content)) as picture:
            said = json.loads(picture.text["peftscope"])  # type: ignore[attr-defined]
            assert said["run_id"] == "lora-1"
            assert said["columns"] == columns
            assert len(said["seeds"]) == 2
            assert len(said["tiles"]) == 3 * len(said["prompts"])
            row, column, x, y, side = said["tiles"][0]
            assert (row, column) == (0, 0)
            assert x + side <= picture.width
            assert y + side <= picture.height
    # of the base itself, the base's picture and the drawn one are the same
    with Image.open(io.BytesIO(sheets["samples"].content)) as picture:
        tiles = {(row, column): picture.crop((x, y, x + s, y + s)) for row, column, x, y, s in said_tiles(picture)}
        assert tiles[0, 0].tobytes() == tiles[0, 1].tobytes()
        assert tiles[0, 1].tobytes() != tiles[0, 2].tobytes()


def said_tiles(picture: Any) -> list[list[int]]:
    import json

    tiles: list[list[int]] = json.loads(picture.text["peftscope"])["tiles"]
    return tiles


def looks(pictures: Tensor) -> Looks:
    return Looks(pictures, torch.nn.functional.normalize(pictures.float().flatten(1), dim=-1))


def test_copies_of_training_pictures_are_told_from_pictures_that_are_merely_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (9, 32, 32, 3), generator=generator, dtype=torch.uint8)
    nearly = (pictures[:1].int() + torch.randint(-3, 4, (1, 32, 32, 3), generator=generator)).clamp(0, 255).byte()
    drawn = looks(torch.cat([nearly, pictures[6:9]]))
    assert copied_share(drawn, looks(pictures[:3]), looks(pictures[3:6])) == 0.25


def test_the_same_picture_for_every_prompt_has_no_diversity() -> None:
    features = torch.nn.functional.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    same = features.repeat(3, 1)  # 3 prompts, 2 draws
    assert diversity(same, draws=2) == pytest.approx(0, abs=1e-6)
    assert diversity(torch.eye(6), draws=2) == pytest.approx(1)
    assert diversity(features, draws=2) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": 8}, "8 pictures, and 8 to train on, 2 for validation and 3 for the test"),
        ({"prompts": ["a", "b"]}, "8 pictures and 2 prompts"),
        ({"resolution": 30}, "multiples of 8"),
        ({"encoder": "/nowhere/dino"}, "task.encoder"),
        ({"prompt_encoder": "/nowhere/clip"}, "task.prompt_encoder"),
        ({"prompts": ["a" * 40 + str(number) for number in range(8)]}, "the same to the text encoder"),
    ],
)
def test_what_does_not_fit_is_told_before_training(
    loaded: LoadedModel, photos: Path, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        cache_task(task_of(loaded, photos, **options), tmp_path)


def test_a_damaged_picture_is_named(loaded: LoadedModel, photos: Path, tmp_path: Path) -> None:
    for path in photos.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "3.png").write_bytes((photos / "3.png").read_bytes()[:300])
    with pytest.raises(DataError, match=r"3\.png: cut off or damaged"):
        task_of(loaded, tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        task_of(loaded, tmp_path / "nothing")
    with pytest.raises(SpecError, match="one of the two"):
        task_of(loaded, photos, prompt="a", prompts=["b"])


def test_a_data_set_of_the_hub_is_read_like_a_folder(loaded: LoadedModel, photos: Path, monkeypatch: Any) -> None:
    import datasets

    names = [str(photos / f"{number}.png") for number in range(8)]
    rows = datasets.Dataset.from_dict({"image": names, "text": [f"sks dog number {n}" for n in range(8)]})
    rows = rows.cast_column("image", datasets.Image())
    asked: list[Any] = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **named: asked.append((args, named)) or rows)
    found = task_of(loaded, "somebody/some-pictures", split="validation")
    assert asked == [(("somebody/some-pictures",), {"split": "validation"})]
    here = task_of(loaded, photos)
    assert torch.equal(next(found.batches(0))["latents"], next(here.batches(0))["latents"])
    with pytest.raises(DataError, match="no column 'picture'; it has image, text"):
        task_of(loaded, "somebody/some-pictures", image_column="picture")


def test_how_pictures_fit_their_prompts_is_told_by_a_model_of_texts_and_pictures(
    loaded: LoadedModel, photos: Path, generator: ImageGenerator, tmp_path: Path
) -> None:
    folder = tiny_pipelines.clip_folder(tmp_path / "clip")
    task = task_of(loaded, photos, prompt_encoder=str(folder))
    facts = task.answer_facts("test", task.score(loaded.model, generator, "test"))
    assert -1 <= facts["prompt_similarity"] <= 1
    pictures = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    fits = fit_to_prompts(str(folder), pictures, ["a dog", "a cat", "a dog"])
    assert fits.shape == (3,)
    alone = fit_to_prompts(str(folder), pictures[1:2], ["a cat"])
    assert torch.allclose(fits[1:2], alone, atol=1e-5)
    with pytest.raises(DataError, match="prompt_encoder"):
        fit_to_prompts(str(tmp_path / "nothing"), pictures, ["a", "b", "c"])


def test_a_vision_model_of_transformers_compares_pictures(loaded: LoadedModel, photos: Path, tmp_path: Path) -> None:
    folder = tiny_pipelines.dino_folder(tmp_path / "dino")
    compare = encoder(str(folder), 28)
    pictures = torch.randint(0, 256, (3, 40, 40, 3), dtype=torch.uint8)
    features = compare(pictures)
    assert features.shape == (3, 16)
    assert torch.allclose(features.norm(dim=-1), torch.ones(3), atol=1e-5)
    task = task_of(loaded, photos, encoder=str(folder), encoder_size=28)
    assert task.concept_features().shape == (3, 16)


def test_what_is_kept_is_of_one_model_and_is_made_once(
    loaded: LoadedModel, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = cache_task(task_of(loaded, photos), tmp_path / "cache")
    other = tiny_pipelines.flux2_folder(tmp_path / "flux2", seed=1)
    for spec in (ModelSpec(source=str(other), device="cpu"), ModelSpec(source=kind_folder(loaded), dtype="bfloat16")):
        processor = TextToImage().inspect(spec).processor
        context = TaskContext(processor=processor, kind="text-to-image", batch_size=2)
        task = create(TaskSpec(name="concept", options={"source": str(photos), **SMALL}), context)
        assert cache_task(task, tmp_path / "cache") != kept
        assert next(task.batches(0))["prompts"].dtype == processor.dtype
    monkeypatch.setattr(ImagePipeline, "encode_pictures", lambda *_: pytest.fail("encoded again"))
    assert cache_task(task_of(loaded, photos), tmp_path / "cache") == kept


def kind_folder(loaded: LoadedModel) -> str:
    return str(loaded.processor.files.folder)


def test_validation_and_test_are_drawn_from_other_noise(
    loaded: LoadedModel, photos: Path, generator: ImageGenerator
) -> None:
    task = task_of(loaded, photos, prompt="sks dog", draws=1)
    scores = [task.score(loaded.model, generator, split) for split in ("valid", "test")]
    drawn = [task._drawn[split][0].pictures[0] for split in ("valid", "test")]
    assert not torch.equal(*drawn)
    assert len(scores[0]) == len(scores[1]) == 1
    assert any("1 of 1 test prompts are trained on" in line for line in task.warnings())


def test_a_picture_in_two_splits_is_refused(loaded: LoadedModel, photos: Path, tmp_path: Path) -> None:
    for path in photos.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for number in range(1, 8):
        (tmp_path / f"{number}.png").write_bytes((photos / "0.png").read_bytes())
    with pytest.raises(DataError, match="is the same picture as"):
        task_of(loaded, tmp_path)


def test_an_encoder_with_other_weights_is_another_measure(loaded: LoadedModel, photos: Path, tmp_path: Path) -> None:
    folder = tiny_pipelines.dino_folder(tmp_path / "dino")
    before = task_of(loaded, photos, encoder=str(folder), encoder_size=28)
    prints = [before.fingerprint()]
    retention = before.retention()
    assert retention is not None
    measures = [retention.fingerprint()]
    tiny_pipelines.dino_folder(folder, seed=1)
    after = task_of(loaded, photos, encoder=str(folder), encoder_size=28)
    retention = after.retention()
    assert retention is not None
    assert after.fingerprint() not in prints
    assert retention.fingerprint() not in measures
    assert folder.absolute() in (after.sources() or ())


def test_prompts_that_are_cut_off_are_named(loaded: LoadedModel, photos: Path) -> None:
    task = task_of(loaded, photos, sample_prompts=["a very long prompt indeed of many words"])
    assert any("does not read the end of 'a very long" in line for line in task.warnings())


def test_what_is_only_shown_or_measured_beside_decides_no_score(loaded: LoadedModel, photos: Path) -> None:
    prints = {repr(task_of(loaded, photos, **more).fingerprint()) for more in ({}, {"sample_prompts": ["a cat"]})}
    assert len(prints) == 1
    task = task_of(loaded, photos, sample_prompts=[])
    retention = task.retention()
    assert retention is not None
    baseline = retention.baseline(loaded.model)
    assert "samples" not in baseline
    task.score(loaded.model, TextToImage().predictor(loaded, lambda *_: None), "test")
    predictor = TextToImage().predictor(loaded, lambda *_: None)
    assert [sample.name for sample in task.samples(loaded.model, predictor, baseline, "run")] == ["test"]
