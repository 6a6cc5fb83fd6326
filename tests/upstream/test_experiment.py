"""Experiment folders of the public benchmark: what is read, what is refused, which run comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from peftscope.errors import SpecError
from peftscope.schema.study import ModelSpec, TaskSpec
from peftscope.upstream.experiment import Experiment, read_experiment, to_run_spec
from peftscope.upstream.training_params import DEFAULT_PARAMS, IMAGE_DEFAULT_PARAMS

SHARED = Path(__file__).parents[3] / "shared" / "data"
FOLDERS = sorted((SHARED / "experiments").glob("*/*/*/"))
RESULTS = sorted((SHARED / "published").glob("*/*.json"))

needs_data = pytest.mark.skipif(not FOLDERS, reason=f"the benchmark's folders are not at {SHARED}")

LORA = {"peft_type": "LORA", "r": 32}


def written(folder: Path, adapter: Any = None, params: Any = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("adapter_config", adapter), ("training_params", params)):
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / f"{name}.json").write_text(text)
    return folder


def experiment(tmp_path: Path, adapter: Any = LORA, **params: Any) -> Experiment:
    return read_experiment(written(tmp_path / "lora" / "mine", adapter, params))


@needs_data
def test_all_folders_of_the_benchmark_are_read() -> None:
    found = [read_experiment(folder) for folder in FOLDERS]
    assert len([e for e in found if e.benchmark == "MetaMathQA"]) == 54
    assert len([e for e in found if e.benchmark == "image-gen"]) == 26
    assert sorted(e.name for e in found if e.peft_config is None) == [
        "full-finetuning/flux2-klein-default",
        "full-finetuning/llama-3.2-3B-lr_0.00001",
    ]


@needs_data
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: f"{path.parts[-3]}-{path.parts[-2]}-{path.name}")
def test_the_benchmark_of_a_folder_by_itself_is_told_by_its_content(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / folder.parent.name / folder.name
    alone.mkdir(parents=True)
    for file in folder.glob("*.json"):
        (alone / file.name).write_bytes(file.read_bytes())
    assert read_experiment(alone).benchmark == read_experiment(folder).benchmark == folder.parts[-3]


@needs_data
def test_the_built_in_defaults_are_those_of_the_benchmarks() -> None:
    for name, ours in (("MetaMathQA", DEFAULT_PARAMS), ("image-gen", IMAGE_DEFAULT_PARAMS)):
        theirs = json.loads((SHARED / "experiments" / name / "default_training_params.json").read_text())
        assert theirs.keys() == ours.keys()
        assert {k: v for k, v in theirs.items() if not k.endswith("_prompts")} == {
            k: v for k, v in ours.items() if not k.endswith("_prompts")
        }


@needs_data
@pytest.mark.parametrize("result", RESULTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_training_params_equal_those_of_the_published_run(result: Path) -> None:
    published = json.loads(result.read_text())["run_info"]["train_config"]
    folder = SHARED / "experiments" / result.parent.name / Path(*result.stem.split("--"))
    ours = read_experiment(folder).training_params
    assert {key: ours[key] for key in published} == published
    # Two settings are newer than most results; they had no effect then.
    newer = {key: value for key, value in ours.items() if key not in published}
    assert newer.items() <= {"use_gc": False, "init_kv_cache_prefix": None}.items()


@needs_data
def test_built_in_defaults_are_those_of_the_benchmark() -> None:
    assert json.loads((SHARED / "experiments/MetaMathQA/default_training_params.json").read_text()) == DEFAULT_PARAMS


@needs_data
def test_every_text_folder_gives_a_run() -> None:
    lines: list[str] = []
    runs = [
        to_run_spec(read_experiment(folder), method_name="any", warn=lines.append)
        for folder in FOLDERS
        if "MetaMathQA" in folder.parts
    ]
    assert len({run.run_id for run in runs}) == len(runs)
    assert lines == []


def test_a_run_carries_the_experiments_settings(tmp_path: Path) -> None:
    run = to_run_spec(experiment(tmp_path, eval_steps=10, max_steps=20, grad_norm_clip=0), method_name="lora")
    assert run.model == ModelSpec(source="meta-llama/Llama-3.2-3B", dtype="bfloat16")
    assert (run.learning_rate, run.train.weight_decay, run.method.peft_config) == (1e-4, 0.1, LORA)
    assert (run.train.max_steps, run.train.eval_every, run.task.options["max_length"]) == (20, 10, 768)
    assert (run.task.options["train_on"], run.train.schedule, run.train.warmup_fraction) == ("all", "cosine", 0.1)
    assert run.train.grad_norm_clip is None
    assert run.task.options["query_template"].startswith("Question: {query}")
    assert (run.task.options["max_new_tokens"], run.task.options["max_generation_length"]) == (300, 800)
    assert run.task.options["upstream"] is True


def test_the_converted_math_options_are_valid_task_options(tmp_path: Path) -> None:
    from peftscope.tasks.text.options import MathOptions

    MathOptions.model_validate(to_run_spec(experiment(tmp_path), method_name="lora").task.options)


def test_given_optimizer_kwargs_replace_all_default_optimizer_kwargs(tmp_path: Path) -> None:
    run = to_run_spec(experiment(tmp_path, optimizer_kwargs={"lr": 1e-3}), method_name="lora")
    assert (run.learning_rate, run.train.weight_decay) == (
        1e-3,
        0.01,
    )  # torch's own decay, not the default's 0.1


def test_arguments_of_a_custom_optimizer_are_preserved(tmp_path: Path) -> None:
    own = {"lr": 1e-4, "r": 32, "lora_alpha": 64}
    run = to_run_spec(experiment(tmp_path, optimizer_type="lora-fa", optimizer_kwargs=own), method_name="lora-fa")
    assert run.method.optimizer == {"r": 32, "lora_alpha": 64}
    assert run.train.weight_decay == 0.0


def test_the_initialization_text_of_a_prefix_is_preserved(tmp_path: Path) -> None:
    run = to_run_spec(experiment(tmp_path, init_kv_cache_prefix="You are"), method_name="prefix-tuning-text")
    assert run.method.knobs == {"init_kv_cache_prefix": "You are"}


@pytest.mark.parametrize(
    ("dtype", "quantization"),
    [("int8", "int8"), ("int4", {"quant_method": "bitsandbytes", "load_in_4bit": True})],
)
def test_quantized_dtypes_are_converted_to_quantization_settings(
    tmp_path: Path, dtype: str, quantization: object
) -> None:
    model = to_run_spec(experiment(tmp_path, dtype=dtype), method_name="lora").model
    assert (model.dtype, model.quantization) == ("auto", quantization)


def test_model_task_and_seed_can_be_overridden_separately(tmp_path: Path) -> None:
    run = to_run_spec(
        experiment(tmp_path),
        method_name="lora",
        model=ModelSpec(source="here"),
        task=TaskSpec(name="math", options={"source": "files", "train": "a.jsonl", "max_new_tokens": 9}),
        seed=3,
    )
    assert (run.model.source, run.seed) == ("here", 3)
    assert run.task.options["train"] == "a.jsonl"
    assert run.task.options["max_new_tokens"] == 9
    assert run.task.options["eval_batch_size"] == 50
    assert "upstream" not in run.task.options


def test_unused_settings_are_reported_as_warnings(tmp_path: Path) -> None:
    lines: list[str] = []
    kwargs = {"max_new_tokens": 8, "num_beams": 4}
    to_run_spec(experiment(tmp_path, compile=True, generation_kwargs=kwargs), method_name="lora", warn=lines.append)
    assert len(lines) == 2
    assert "compile" in lines[0]
    assert "num_beams" in lines[1]


def test_every_problem_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "e", '{"peft_type": ', {"max_stepz": 3, "batch_size": 0})
    with pytest.raises(SpecError) as caught:
        read_experiment(folder)
    assert "adapter_config.json: not valid JSON" in str(caught.value)

    folder = written(tmp_path / "f", {"r": 8}, {"max_stepz": 3})
    with pytest.raises(SpecError, match="peft_type is missing"):
        read_experiment(folder)

    folder = written(tmp_path / "g", LORA, {"max_stepz": 3, "batch_size": 0, "dtype": "float8"})
    with pytest.raises(SpecError) as caught:
        read_experiment(folder)
    assert len(caught.value.problems) == 3
    assert "did you mean 'max_steps'?" in str(caught.value)


def test_a_missing_or_invalid_learning_rate_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'lr' is missing"):
        experiment(tmp_path, optimizer_kwargs={"weight_decay": 0.1})
    with pytest.raises(SpecError, match=r"optimizer_kwargs\.lr"):
        experiment(tmp_path, optimizer_kwargs={"lr": "fast"})


def test_a_folder_that_is_no_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such folder"):
        read_experiment(tmp_path / "none")
    with pytest.raises(SpecError, match=r"neither adapter_config\.json nor training_params\.json"):
        read_experiment(written(tmp_path / "empty"))
    with pytest.raises(SpecError, match="a mapping is wanted; given list"):
        read_experiment(written(tmp_path / "list", "[]"))


def test_a_defaults_file_near_the_experiment_overrides_the_built_in_defaults(tmp_path: Path) -> None:
    (tmp_path / "default_training_params.json").write_text(json.dumps({**DEFAULT_PARAMS, "max_steps": 7}))
    found = experiment(tmp_path / "experiments", eval_steps=5)
    assert found.training_params["max_steps"] == 7
    assert found.defaults == str((tmp_path / "default_training_params.json").resolve())
