"""Image experiments of the public benchmark: the run each stands for, on the real shapes and on a narrow pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from peftscope.execution.execute import execute
from peftscope.methods.adapter_config import method_name
from peftscope.methods.build import BuildContext, build
from peftscope.models.kinds.base import ModelProfile
from peftscope.models.kinds.registry import profile_of
from peftscope.schema.override import override
from peftscope.schema.run import RunSpec
from peftscope.schema.study import ModelSpec, TaskSpec
from peftscope.tasks.images.options import ConceptOptions
from peftscope.tasks.registry import kind_of
from peftscope.upstream.experiment import Experiment, read_experiment, to_run_spec
from tiny_pipelines import wide_flux2_folder

SHARED = Path(__file__).parents[3] / "shared" / "data"
FOLDERS = sorted((SHARED / "experiments" / "image-gen").glob("*/*/"))
RESULTS = {path.stem: path for path in (SHARED / "published" / "image-gen").glob("*.json")}
CONFIG = Path(__file__).parents[1] / "configs" / "flux2-klein-base-4b.json"

needs_data = pytest.mark.skipif(not FOLDERS, reason=f"the benchmark's folders are not at {SHARED}")

FAST = {"full-finetuning", "lora", "ln_tuning", "osf"}
"""All weights, an adapter, norms, weights that are taken apart; the others take half a minute together."""

OPTIONS = {
    "resolution": 32,
    "train_size": 4,
    "valid_size": 2,
    "test_size": 2,
    "num_inference_steps": 1,
    "text_layers": [1, 2, 3],
    "encoder": "efficientnet-lite0",
    "encoder_size": 32,
    "drift_prompts": ["a photo of the Eiffel tower at night"],
}
SETTINGS = ["train.max_steps=2", "train.eval_every=null", "measure.metered_steps=1"]

OWN_NAMES = {
    "dataset_id": "source",
    "dataset_split": "split",
    "image_column": "image_column",
    "instance_prompts": "prompts",
    "valid_size": "valid_size",
    "test_size": "test_size",
    "resolution": "resolution",
    "max_sequence_length": "max_tokens",
    "text_encoder_out_layers": "text_layers",
    "weighting_scheme": "weighting_scheme",
    "logit_mean": "logit_mean",
    "logit_std": "logit_std",
    "mode_scale": "mode_scale",
    "num_inference_steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "batch_size_eval": "eval_batch_size",
    "dino_model_id": "encoder",
    "dino_image_size": "encoder_size",
    "drift_image_prompts": "drift_prompts",
    "sample_image_prompts": "sample_prompts",
}
"""What the benchmark calls an option -> what the task calls it."""

PROMPTS = [f"sks cat number {number}" for number in range(8)]


READ = [pytest.param(folder, id=folder.parent.name) for folder in FOLDERS]
TRAINED = [
    pytest.param(folder, id=folder.parent.name, marks=[] if folder.parent.name in FAST else [pytest.mark.slow])
    for folder in FOLDERS
]


def run_of(experiment: Experiment, **others: Any) -> RunSpec:
    name = method_name(experiment.peft_config, experiment.training_params)
    return to_run_spec(experiment, method_name=name, **others)


def experiment(tmp_path: Path, **params: Any) -> Experiment:
    folder = tmp_path / "lora" / "flux2-klein-mine"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "target_modules": ["to_q"]}))
    (folder / "training_params.json").write_text(json.dumps({"instance_prompts": PROMPTS, **params}))
    return read_experiment(folder)


def options_of(found: Experiment, **given: Any) -> dict[str, Any]:
    return run_of(found, task=TaskSpec(name="concept", options=given)).task.options


@needs_data
def test_all_image_folders_of_the_benchmark_are_tested() -> None:
    assert len(FOLDERS) == 26
    assert {folder.parent.name for folder in FOLDERS} >= FAST
    assert len({run_of(read_experiment(folder)).run_id for folder in FOLDERS}) == 26


@needs_data
@pytest.mark.parametrize("folder", READ)
def test_an_image_folder_gives_a_run_with_the_published_settings(folder: Path) -> None:
    defaults = json.loads((folder.parents[1] / "default_training_params.json").read_text())
    changes = folder / "training_params.json"
    published = {**defaults, **(json.loads(changes.read_text()) if changes.exists() else {})}
    lines: list[str] = []
    run = run_of(read_experiment(folder), warn=lines.append)
    assert lines == []
    assert (run.model.source, run.model.dtype) == (published["model_id"], published["dtype"])
    assert run.task.name == "concept"
    assert kind_of(run.model, run.task).name == "text-to-image"
    options = ConceptOptions.model_validate(run.task.options).model_dump(mode="json")
    assert {own: options[own] for own in OWN_NAMES.values()} == {own: published[key] for key, own in OWN_NAMES.items()}
    assert options["draws"] == 3  # the benchmark's test repeats three times
    assert run.task.options.keys() == {*OWN_NAMES.values(), "draws"}
    assert (run.learning_rate, run.seed) == (published["optimizer_kwargs"]["lr"], published["seed"])
    assert (run.train.max_steps, run.train.batch_size) == (published["max_steps"], published["batch_size"])
    assert (run.train.eval_every, run.train.checkpointing) == (published["eval_steps"], published["use_gc"])
    assert (run.train.schedule, run.train.warmup_fraction) == ("constant", 0.0)


def test_options_left_open_come_from_the_experiment(tmp_path: Path) -> None:
    found = experiment(tmp_path, guidance_scale=5.0, dataset_split="all", test_size=3)
    options = options_of(found, draws=4, resolution=64)
    assert (options["draws"], options["resolution"]) == (4, 64)
    assert (options["guidance_scale"], options["source"]) == (5.0, found.training_params["dataset_id"])
    assert (options["split"], options["test_size"], options["prompts"]) == ("all", 3, PROMPTS)
    assert options == options_of(found, draws=4, resolution=64, source=found.training_params["dataset_id"])


@pytest.mark.parametrize("source", ["drawn", "my/pictures"])
def test_prompts_and_sizes_of_the_experiment_do_not_go_with_other_pictures(source: str, tmp_path: Path) -> None:
    options = options_of(experiment(tmp_path, sample_image_prompts=["sks cat at the beach"]), source=source)
    assert not {"prompts", "split", "image_column", "valid_size", "test_size", "sample_prompts"} & options.keys()
    assert options["guidance_scale"] == 3.5
    ConceptOptions.model_validate(options)


def test_a_prompt_for_all_pictures_replaces_the_experiments_list(tmp_path: Path) -> None:
    options = options_of(experiment(tmp_path), prompt="sks cat")
    assert "prompts" not in options
    assert ConceptOptions.model_validate(options).prompt == "sks cat"


def test_an_image_experiment_without_prompts_leaves_them_to_the_data_set(tmp_path: Path) -> None:
    options = run_of(experiment(tmp_path, instance_prompts=[])).task.options
    assert ConceptOptions.model_validate(options).prompts is None


def test_a_task_of_another_name_is_taken_as_it_is(tmp_path: Path) -> None:
    task = TaskSpec(name="my-pictures", options={"folder": "here"})
    assert run_of(experiment(tmp_path), task=task).task == task


@pytest.fixture(scope="module")
def klein() -> ModelProfile:
    """FLUX.2-klein-base-4B by its shapes."""
    return profile_of(ModelSpec(source=str(CONFIG)), torch.bfloat16)


@needs_data
@pytest.mark.parametrize("result", [pytest.param(path, id=name) for name, path in sorted(RESULTS.items())])
def test_parameters_on_the_real_transformer_equal_the_published_ones(result: Path, klein: ModelProfile) -> None:
    published = json.loads(result.read_text())["train_info"]
    run = run_of(read_experiment(SHARED / "experiments" / "image-gen" / Path(*result.stem.split("--"))))
    context = BuildContext(
        seed=run.seed,
        max_steps=run.train.max_steps,
        learning_rate=run.learning_rate,
        task_type=None,
        autocast_adapter_dtype=run.train.autocast_adapter_dtype,
        warn=lambda line: None,
    )
    built = build(klein.base(), run.method, context)
    assert built.num_trainable_params == published["num_trainable_params"]
    assert built.num_total_params == published["num_total_params"]


@pytest.fixture(scope="module")
def narrow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FLUX.2 at a twelfth of klein's width; blocks and vectors of 256 fit no narrower one."""
    return wide_flux2_folder(tmp_path_factory.mktemp("narrow-pipeline"))


@pytest.fixture(scope="module")
def short_run(narrow_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Experiment], RunSpec]:
    """The short run of an experiment, on the narrow pipeline and pictures of noise."""
    pictures, values = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number, prompt in enumerate(PROMPTS):
        Image.fromarray(values.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text(prompt)

    def make(experiment: Experiment) -> RunSpec:
        task = TaskSpec(name="concept", options={**OPTIONS, "source": str(pictures)})
        run = run_of(experiment, model=ModelSpec(source=str(narrow_folder), dtype="float32"), task=task)
        return override(run, SETTINGS)

    return make


@needs_data
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")  # of SHiRA
@pytest.mark.parametrize("folder", TRAINED)
def test_an_image_folder_trains_and_is_scored_unmodified(
    folder: Path, short_run: Callable[[Experiment], RunSpec], tmp_path: Path
) -> None:
    found = read_experiment(folder)
    record = execute(short_run(found), tmp_path)
    assert record.status == "ok", record.attempts[0].traceback
    assert record.metrics["num_steps"] == 2
    for name in ("num_trainable_params", "checkpoint_bytes", "peak_train_memory_bytes"):
        assert (record.metrics[name] or 0) > 0, name
    for name in ("train_loss", "test_score", "image_drift"):
        assert np.isfinite(record.metrics[name]), name
    assert len(record.examples) == 2 * 3  # prompts × draws
    assert record.method_facts is not None
    adapted, built = record.method_facts.adapted_modules, record.method_facts.peft_config
    if found.peft_config is None:
        assert built is None
        return
    assert built is not None
    assert built["peft_type"] == found.peft_config["peft_type"]
    named = {*found.peft_config["target_modules"]}
    assert {target for target in named if any(f".{name}".endswith(f".{target}") for name in adapted)} == named
