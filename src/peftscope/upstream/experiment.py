"""Experiment folders in the layout of the public benchmark, and the run each of them stands for.

A folder holds ``adapter_config.json``, ``training_params.json`` or both (full fine-tuning has no adapter).
The benchmark's ``default_training_params.json`` lies in a folder above. What a folder sets replaces the
default as a whole, ``optimizer_kwargs`` included: so the benchmark reads it, and its results show it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from peftscope.errors import SpecError
from peftscope.schema.base import Frozen
from peftscope.schema.reader import problems_of, unusable_values
from peftscope.schema.run import RunSpec
from peftscope.schema.study import MethodSpec, ModelSpec, TaskSpec, TrainSpec
from peftscope.upstream.training_params import (
    DEFAULT_PARAMS,
    IMAGE_DEFAULT_PARAMS,
    Benchmark,
    CommonParams,
    ImageParams,
    TextParams,
    benchmark_told_by,
)

__all__ = [
    "ADAPTER_FILE",
    "PARAMS_FILE",
    "WARMUP_FRACTION",
    "Experiment",
    "method_and_training",
    "read_experiment",
    "to_run_spec",
]

ADAPTER_FILE = "adapter_config.json"
PARAMS_FILE = "training_params.json"
DEFAULTS_FILE = "default_training_params.json"

WARMUP_FRACTION = 0.1
"""The benchmark's cosine schedule warms up over a tenth of the steps; no setting of its says so."""

# What the benchmark's optimizers decay by when a folder gives kwargs without ``weight_decay``.
_OWN_WEIGHT_DECAY = {"AdamW": 0.01, "riemannian": 0.01, "lora-fa": 0.0, "lora+": 0.0}


class Experiment(Frozen):
    """One experiment folder, as it stands on disk."""

    name: str
    """Method's folder and own folder: ``lora/llama-3.2-3B-rank32``."""
    folder: str
    benchmark: Benchmark
    peft_config: dict[str, Any] | None
    """``adapter_config.json`` as it is; None for full fine-tuning."""
    training_params: dict[str, Any]
    """Defaults with the folder's own settings in their place."""
    defaults: str
    """Path of the defaults file, or ``built in``."""

    @property
    def learning_rate(self) -> float:
        """Peak learning rate."""
        return float(self.training_params["optimizer_kwargs"]["lr"])


def read_experiment(folder: Path) -> Experiment:
    """Read an experiment folder.

    Raises:
        SpecError: With every problem found: missing folder or files, broken JSON, settings that don't exist
            or have a wrong value.
    """
    if not folder.is_dir():
        raise SpecError(str(folder), ["no such folder; an experiment is a folder with an adapter_config.json"])
    problems: list[str] = []
    peft_config = _read_json(folder / ADAPTER_FILE, problems)
    own = _read_json(folder / PARAMS_FILE, problems)
    if peft_config is None and own is None and not problems:
        problems.append(f"neither {ADAPTER_FILE} nor {PARAMS_FILE} in it; give the folder of one experiment")
    if peft_config is not None and not isinstance(peft_config.get("peft_type"), str):
        problems.append(f"{ADAPTER_FILE}: peft_type is missing; it says which method this is")
    defaults_file = next((f for p in folder.resolve().parents if (f := p / DEFAULTS_FILE).is_file()), None)
    if defaults_file is None:
        benchmark = benchmark_told_by(own or {}, peft_config, folder.resolve().name)
        defaults = IMAGE_DEFAULT_PARAMS if benchmark == "image-gen" else DEFAULT_PARAMS
    else:
        defaults = _read_json(defaults_file, problems) or {}
        benchmark = "image-gen" if "num_inference_steps" in defaults else "MetaMathQA"
    params = {**defaults, **(own or {})}
    if not problems:
        problems += _param_problems(params, benchmark)
    if problems:
        raise SpecError(str(folder), problems)
    resolved = folder.resolve()
    return Experiment(
        name=f"{resolved.parent.name}/{resolved.name}",
        folder=str(folder),
        benchmark=benchmark,
        peft_config=peft_config,
        training_params=params,
        defaults=str(defaults_file or "built in"),
    )


def to_run_spec(
    experiment: Experiment,
    *,
    method_name: str,
    model: ModelSpec | None = None,
    task: TaskSpec | None = None,
    seed: int | None = None,
    warn: Callable[[str], None] = lambda line: None,
) -> RunSpec:
    """The run an experiment stands for.

    Args:
        experiment: The folder's content.
        method_name: Name of the card its config belongs to (``methods.adapter_config.method_name``).
        model: Base model instead of the experiment's own.
        task: Task instead of the experiment's own; options it leaves open come from the experiment, but what that says
            of its own pictures does not go with others.
        seed: Seed instead of the experiment's own.
        warn: Takes one line for every setting of the experiment that is not used.

    Raises:
        SpecError: A setting of the experiment is one that no run can have.
    """
    checked = _checked(experiment)
    if checked.compile:
        warn(f"{experiment.name}: compile is not used")
    method, train = method_and_training(experiment, method_name=method_name)
    with _named(experiment):
        return RunSpec(
            model=model or _model_spec(checked),
            task=_task_spec(checked, task, experiment.name, warn),
            method=method,
            learning_rate=float(checked.optimizer_kwargs["lr"]),
            seed=checked.seed if seed is None else seed,
            train=train,
        )


@contextmanager
def _named(experiment: Experiment) -> Iterator[None]:
    """What a setting is of that no run can have: the experiment's."""
    try:
        yield
    except ValidationError as error:
        raise SpecError(experiment.folder, problems_of(error, RunSpec, prefix=f"{PARAMS_FILE}: ")) from None


def method_and_training(experiment: Experiment, *, method_name: str) -> tuple[MethodSpec, TrainSpec]:
    """What an experiment of either benchmark trains, and how.

    Args:
        experiment: The folder's content.
        method_name: Name of the card its config belongs to (``methods.adapter_config.method_name``).
    """
    checked = _checked(experiment)
    with _named(experiment):
        return _method_spec(checked, experiment.peft_config, method_name), _train_spec(checked)


def _checked(experiment: Experiment) -> TextParams | ImageParams:
    model = ImageParams if experiment.benchmark == "image-gen" else TextParams
    return model.model_validate(experiment.training_params)


def _read_json(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """The mapping in a JSON file; None where there is no such file, or where a problem was added."""
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path.name}: cannot be read: {error}")
        return None
    except (ValueError, RecursionError) as error:  # of many digits, or nested deeper than anything there is
        problems.append(f"{path.name}: not valid JSON: {error}")
        return None
    if not isinstance(value, dict):
        problems.append(f"{path.name}: a mapping is wanted; given {type(value).__name__}")
        return None
    if huge := unusable_values(value):
        problems += [f"{path.name}: {line}" for line in huge]
        return None
    return value


def _param_problems(params: Mapping[str, Any], benchmark: Benchmark) -> list[str]:
    model = ImageParams if benchmark == "image-gen" else TextParams
    try:
        model.model_validate(params)
    except ValidationError as error:
        return [f"{PARAMS_FILE}: {line}" for line in problems_of(error, model, whole="")]
    return []


def _model_spec(params: CommonParams) -> ModelSpec:
    if params.dtype == "int8":
        return ModelSpec(source=params.model_id, quantization="int8", attn_implementation=_attention(params))
    if params.dtype == "int4":
        # The benchmark leaves the 4-bit type at bitsandbytes' default (fp4), which is not nf4.
        settings = {"quant_method": "bitsandbytes", "load_in_4bit": True}
        return ModelSpec(source=params.model_id, quantization=settings, attn_implementation=_attention(params))
    return ModelSpec(source=params.model_id, dtype=params.dtype, attn_implementation=_attention(params))


def _attention(params: CommonParams) -> str | None:
    return params.attn_implementation if isinstance(params, TextParams) else None


def _method_spec(params: CommonParams, peft_config: dict[str, Any] | None, name: str) -> MethodSpec:
    prefix = params.init_kv_cache_prefix if isinstance(params, TextParams) else None
    return MethodSpec(
        name=name,
        peft_config=peft_config,
        knobs={} if prefix is None else {"init_kv_cache_prefix": prefix},
        optimizer={k: v for k, v in params.optimizer_kwargs.items() if k not in ("lr", "weight_decay")},
    )


def _train_spec(params: CommonParams) -> TrainSpec:
    cosine = params.lr_scheduler == "cosine"
    decay = params.optimizer_kwargs.get("weight_decay", _OWN_WEIGHT_DECAY[params.optimizer_type])
    return TrainSpec(
        max_steps=params.max_steps,
        batch_size=params.batch_size,
        weight_decay=decay,
        schedule="cosine" if cosine else "constant",
        warmup_fraction=WARMUP_FRACTION if cosine else 0.0,
        grad_norm_clip=params.grad_norm_clip or None,
        eval_every=params.eval_steps,
        checkpointing=params.use_gc,
        autocast=params.use_amp,
        autocast_adapter_dtype=params.autocast_adapter_dtype,
    )


def _task_spec(
    params: TextParams | ImageParams, given: TaskSpec | None, name: str, warn: Callable[[str], None]
) -> TaskSpec:
    """The benchmark's task as the experiment sets it, under what a user set; a task of another name as it is."""
    own = "math" if isinstance(params, TextParams) else "concept"
    if given is not None and given.name != own:
        return given
    options = None if given is None else given.options
    if isinstance(params, TextParams):
        return TaskSpec(name=own, options=_math_options(params, options, name, warn))
    return TaskSpec(name=own, options=_concept_options(params, options or {}))


def _math_options(
    params: TextParams, given: Mapping[str, Any] | None, name: str, warn: Callable[[str], None]
) -> dict[str, Any]:
    generation = {k: v for k, v in params.generation_kwargs.items() if v is not None}
    total = generation.pop("max_length", None)
    new = generation.pop("max_new_tokens", total)
    for key in generation:
        warn(f"{name}: generation_kwargs.{key} is not used; answers are decoded greedily")
    options: dict[str, Any] = {
        "max_length": params.max_seq_length,
        "train_on": "all",
        "chat_template": "none",
        "query_template": params.query_template,
        "max_generation_length": total,
        "eval_batch_size": params.batch_size_eval,
    }
    if new is not None:
        options["max_new_tokens"] = new
    return {**options, **({"upstream": True} if given is None else given)}


def _concept_options(params: ImageParams, given: Mapping[str, Any]) -> dict[str, Any]:
    """All but ``repeats``, which makes the benchmark's epochs longer: ours go on without end."""
    options: dict[str, Any] = {
        "source": params.dataset_id,
        "resolution": params.resolution,
        "max_tokens": params.max_sequence_length,
        "text_layers": params.text_encoder_out_layers,
        "weighting_scheme": params.weighting_scheme,
        "logit_mean": params.logit_mean,
        "logit_std": params.logit_std,
        "mode_scale": params.mode_scale,
        "draws": 3,  # of each test prompt; the benchmark draws one of those for validation
        "num_inference_steps": params.num_inference_steps,
        "guidance_scale": params.guidance_scale,
        "eval_batch_size": params.batch_size_eval,
        "encoder": params.dino_model_id,
        "encoder_size": params.dino_image_size,
        "drift_prompts": params.drift_image_prompts,
        **given,
    }
    if options["source"] != params.dataset_id:
        return options
    return {**_options_of_its_pictures(params, given), **options}


def _options_of_its_pictures(params: ImageParams, given: Mapping[str, Any]) -> dict[str, Any]:
    """What an experiment says of its own pictures, and of no others."""
    options: dict[str, Any] = {
        "split": params.dataset_split,
        "image_column": params.image_column,
        "valid_size": params.valid_size,
        "test_size": params.test_size,
        "sample_prompts": params.sample_image_prompts,
    }
    if params.instance_prompts and given.get("prompt") is None:
        options["prompts"] = params.instance_prompts
    return options
