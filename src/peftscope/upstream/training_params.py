"""The settings of the public benchmark's experiments: what they may be, what they are where a folder says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "DEFAULT_PARAMS",
    "IMAGE_DEFAULT_PARAMS",
    "Benchmark",
    "CommonParams",
    "ImageParams",
    "TextParams",
    "benchmark_told_by",
]

Benchmark = Literal["MetaMathQA", "image-gen"]

DEFAULT_PARAMS: dict[str, Any] = {
    "model_id": "meta-llama/Llama-3.2-3B",
    "dtype": "bfloat16",
    "max_seq_length": 768,
    "batch_size": 4,
    "batch_size_eval": 50,
    "max_steps": 5000,
    "eval_steps": 250,
    "compile": False,
    "use_gc": False,
    "seed": 0,
    "grad_norm_clip": 1.0,
    "optimizer_type": "AdamW",
    "optimizer_kwargs": {"lr": 1e-4, "weight_decay": 0.1},
    "lr_scheduler": "cosine",
    "use_amp": False,
    "autocast_adapter_dtype": True,
    "attn_implementation": None,
    "generation_kwargs": {"max_length": 800, "max_new_tokens": 300},
    "query_template": "Question: {query} Think step by step.\nAnswer:",
    "init_kv_cache_prefix": None,
}
"""The text benchmark's defaults as of 2026-06, for a folder that has no defaults file above it."""

IMAGE_DEFAULT_PARAMS: dict[str, Any] = {
    "model_id": "black-forest-labs/FLUX.2-klein-base-4B",
    "dataset_id": "peft-internal-testing/cat-image-dataset",
    "dataset_split": "train",
    "dtype": "bfloat16",
    "resolution": 512,
    "batch_size": 2,
    "batch_size_eval": 1,
    "repeats": 1000,
    "max_steps": 750,
    "eval_steps": 100,
    "compile": False,
    "use_gc": True,
    "seed": 0,
    "grad_norm_clip": 1.0,
    "optimizer_type": "AdamW",
    "optimizer_kwargs": {"lr": 1e-4, "weight_decay": 1e-4},
    "lr_scheduler": None,
    "use_amp": False,
    "autocast_adapter_dtype": True,
    "image_column": "image",
    "valid_size": 2,
    "test_size": 4,
    "num_inference_steps": 20,
    "guidance_scale": 3.5,
    "max_sequence_length": 512,
    "text_encoder_out_layers": [10, 20, 30],
    "weighting_scheme": "none",
    "logit_mean": 0.0,
    "logit_std": 1.0,
    "mode_scale": 1.29,
    "dino_model_id": "facebook/dinov2-base",
    "dino_image_size": 224,
    "instance_prompts": [],
    "sample_image_prompts": [],
    "drift_image_prompts": [],
}
"""The image benchmark's defaults as of 2026-06, likewise; its prompts stand in its own file, and nothing is drawn
without them."""

OF_A_TRANSFORMER = (
    "to_q",
    "to_k",
    "to_v",
    "to_qkv_mlp_proj",
    "add_q_proj",
    "add_k_proj",
    "to_out.0",
    "norm_q",
    "norm_k",
)
"""Modules that diffusion transformers have and language models have not."""
IMAGE_BASES = ("flux", "stable-diffusion", "sdxl", "klein")


def benchmark_told_by(params: Mapping[str, Any], peft_config: Mapping[str, Any] | None, name: str) -> Benchmark:
    """Which benchmark an experiment without a defaults file is of: by its settings, its base, what it adapts, its name.

    Args:
        params: What the folder sets.
        peft_config: The adapter's config; None for full fine-tuning.
        name: Of the folder, as the benchmark names them after their base.
    """
    if not params.keys() <= DEFAULT_PARAMS.keys() and params.keys() <= IMAGE_DEFAULT_PARAMS.keys():
        return "image-gen"
    config = peft_config or {}
    targets = config.get("target_modules")
    names = [targets] if isinstance(targets, str) else targets if isinstance(targets, list) else []
    adapts = any(own in str(target) for target in names for own in OF_A_TRANSFORMER)
    base = f"{params.get('model_id')} {config.get('base_model_name_or_path')} {name}".lower()
    return "image-gen" if adapts or any(word in base for word in IMAGE_BASES) else "MetaMathQA"


class CommonParams(BaseModel):
    """Settings both benchmarks know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_id: str
    dtype: Literal["float32", "float16", "bfloat16", "int8", "int4"]
    batch_size: int = Field(gt=0)
    batch_size_eval: int = Field(gt=0)
    max_steps: int = Field(gt=0)
    eval_steps: int = Field(gt=0)
    compile: bool
    use_gc: bool
    seed: int
    grad_norm_clip: float = Field(ge=0)
    optimizer_type: Literal["AdamW", "lora-fa", "lora+", "riemannian"]
    optimizer_kwargs: dict[str, Any]
    lr_scheduler: Literal["cosine"] | None
    use_amp: bool
    autocast_adapter_dtype: bool

    @model_validator(mode="after")
    def _has_a_rate(self) -> CommonParams:
        for name in ("lr", "weight_decay"):
            value = self.optimizer_kwargs.get(name, 0.0)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"optimizer_kwargs.{name}: a number of at least 0 is wanted; given {value!r}")
        if "lr" not in self.optimizer_kwargs:
            raise ValueError(
                "optimizer_kwargs: 'lr' is missing (a folder's kwargs replace the default ones as a whole)"
            )
        return self


class TextParams(CommonParams):
    max_seq_length: int = Field(gt=1)
    attn_implementation: str | None
    generation_kwargs: dict[str, Any]
    query_template: str
    init_kv_cache_prefix: str | None = None


class ImageParams(CommonParams):
    dataset_id: str
    dataset_split: str
    resolution: int = Field(gt=0)
    repeats: int = Field(gt=0)
    image_column: str
    valid_size: int = Field(gt=0)
    test_size: int = Field(gt=0)
    num_inference_steps: int = Field(gt=0)
    guidance_scale: float
    max_sequence_length: int = Field(gt=0)
    text_encoder_out_layers: list[int]
    weighting_scheme: str
    logit_mean: float
    logit_std: float
    mode_scale: float
    dino_model_id: str
    dino_image_size: int = Field(gt=0)
    instance_prompts: list[str]
    sample_image_prompts: list[str]
    drift_image_prompts: list[str]
