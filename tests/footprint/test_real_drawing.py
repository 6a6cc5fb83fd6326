"""What is counted of scoring an image model is what drawing its pictures holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tiny_pipelines
from peftscope.execution.execute import execute
from peftscope.footprint.counter import LEARNING_RATE, MAX_STEPS
from peftscope.footprint.estimate import footprint
from peftscope.footprint.query import FootprintQuery, Workload, footprint_queries
from peftscope.measures.storage import LiveStorage, tensors_of
from peftscope.methods.build import BuildContext, build
from peftscope.models.kinds.text_to_image.generator import ImageGenerator
from peftscope.models.kinds.text_to_image.kind import TextToImage
from peftscope.models.kinds.text_to_image.pipeline import Drawing
from peftscope.models.kinds.text_to_image.profile import TextToImageProfile
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec, ModelSpec, StudySpec, TaskSpec, TrainSpec
from peftscope.tuning.preflight import check

PICTURES = 4
METHOD = MethodSpec(name="lora")
BUILDING = BuildContext(
    seed=0, max_steps=MAX_STEPS, learning_rate=LEARNING_RATE, warn=lambda line: None, task_type=None
)


def _profile(model: ModelSpec) -> TextToImageProfile:
    profile = TextToImage().profile(model, torch.float32)
    assert isinstance(profile, TextToImageProfile)
    return profile


def _drawn(model: ModelSpec, num_pictures: int, side: int) -> int:
    """Live storage at its peak while pictures are drawn."""
    loaded = TextToImage().load(model)
    built = build(loaded.model, METHOD, BUILDING)
    prompts, nothing = (loaded.processor.encode_prompts([text] * n) for text, n in (("a cat", num_pictures), ("", 1)))
    how = Drawing(side=side, steps=2, guidance=3.5, batch_size=num_pictures)
    held = [*tensors_of(built.model), *tensors_of(loaded.processor.autoencoder)]
    with LiveStorage(held) as storage:
        ImageGenerator(loaded.processor)(built.model, prompts, nothing, list(range(num_pictures)), how)
    return storage.peak_bytes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("num_pictures", "side"),
    [pytest.param(4, 32, id="the transformer's peak"), pytest.param(1, 64, id="the autoencoder's peak")],
)
def test_counted_storage_of_drawing_is_within_two_percent(num_pictures: int, side: int, tmp_path: Path) -> None:
    model = ModelSpec(source=str(tiny_pipelines.flux2_folder(tmp_path / "flux2")), dtype="float32", device="cpu")
    load = Workload(batch_size=num_pictures, length=side, target="cpu")
    found = footprint(FootprintQuery(method=METHOD, profile=_profile(model), workload=load))
    assert found.eval_breakdown is not None, found.reason
    live = found.eval_breakdown.total() - found.eval_breakdown.allocator
    assert live == pytest.approx(_drawn(model, num_pictures, side), rel=0.02)


@pytest.mark.filterwarnings("ignore")
def test_drawing_with_the_built_in_model_is_counted_with_its_autoencoder() -> None:
    model = ModelSpec(source="builtin:nano-t2i", dtype="float32", device="cpu")
    load = Workload(batch_size=PICTURES, length=64, target="cpu")
    found = footprint(FootprintQuery(method=METHOD, profile=_profile(model), workload=load))
    assert found.breakdown is not None
    assert found.eval_breakdown is not None
    assert found.breakdown.beside == 0, "it is not there while a model is trained"
    assert found.eval_breakdown.beside == sum(map(_bytes, tensors_of(TextToImage().load(model).processor.autoencoder)))
    live = found.eval_breakdown.total() - found.eval_breakdown.allocator
    assert live == pytest.approx(_drawn(model, PICTURES, 64), rel=0.02)
    assert found.notes == ()


@pytest.mark.filterwarnings("ignore")
def test_a_run_on_a_cpu_scores_in_the_memory_its_check_predicted(tmp_path: Path) -> None:
    run = _concept_run(tmp_path)
    [forecast] = (checked := check([run], tmp_path)).forecasts
    parts = forecast.footprint.eval_breakdown
    assert parts is not None, forecast.footprint.reason
    record = execute(run, tmp_path, cached=checked.cached)
    assert record.status == "ok", record.reason
    assert parts.total() - parts.allocator == pytest.approx(record.metrics["peak_eval_memory_bytes"], rel=0.02)
    assert parts.beside > 10e6, "the weights of what compares pictures"


def _concept_run(folder: Path) -> RunSpec:
    """Learns a concept from pictures of noise."""
    photos = tiny_pipelines.noise_photos(folder / "photos", 10)
    pictures = {"source": str(photos), "resolution": 32, "train_size": 2, "valid_size": 4, "test_size": 4}
    fast = {"num_inference_steps": 1, "encoder_size": 96, "drift_prompts": [], "class_prompts": []}
    model = ModelSpec(source=str(tiny_pipelines.flux2_folder(folder / "flux2")), dtype="float32", device="cpu")
    task = TaskSpec(name="concept", options={**pictures, **fast})
    train = TrainSpec(batch_size=2, max_steps=1)
    return RunSpec(model=model, task=task, method=METHOD, learning_rate=1e-3, seed=0, train=train)


def test_a_study_is_planned_with_as_many_pictures_as_it_draws_at_once() -> None:
    study = {"name": "a", "model": "builtin:nano-t2i", "methods": ["lora"], "train": {"batch_size": 2}}
    spec = StudySpec.model_validate({**study, "task": {"name": "concept", "eval_batch_size": 6}})
    [query] = footprint_queries(spec, _profile(ModelSpec(source="builtin:nano-t2i")))
    assert (query.workload.batch_size, query.workload.eval_batch_size) == (2, 6)


def test_an_unknown_autoencoder_is_said_to_be_left_out() -> None:
    known = _profile(ModelSpec(source="builtin:nano-t2i"))
    unknown = replace(known, config=replace(known.config, autoencoder=None))
    assert known.notes() == []
    assert "without the autoencoder" in unknown.notes()[0]
    assert unknown.scoring_parts() == []


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().nbytes()
