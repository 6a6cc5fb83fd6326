"""A small result document in the layout of the public benchmark, made by hand."""

from __future__ import annotations

import copy
from typing import Any

_POINT = {
    "valid accuracy": 0.5, "train loss": 1.25, "train samples": 8, "train time": 2.5, "eval time": 1.0,
    "tokens / sec": 100.0, "mem allocated avg": 1000.5, "mem reserved avg": 2000.5, "elapsed time": 4.0,
}  # fmt: skip

_TEXT: dict[str, Any] = {
    "run_info": {
        "created_at": "2026-01-09T17:02:52+00:00",
        "total_time": 90.5,
        "experiment_name": "lora/llama-rank8",
        "peft_branch": "main",
        "train_config": {
            "model_id": "org/model", "dtype": "bfloat16", "max_seq_length": 64, "batch_size": 4, "batch_size_eval": 50,
            "max_steps": 4, "eval_steps": 2, "compile": False, "query_template": "Q: {query}", "seed": 0,
            "grad_norm_clip": 1.0, "optimizer_type": "AdamW", "optimizer_kwargs": {"lr": 0.0001, "weight_decay": 0.1},
            "lr_scheduler": "cosine", "use_amp": False, "autocast_adapter_dtype": True,
            "generation_kwargs": {"max_length": 80, "max_new_tokens": 30}, "attn_implementation": None,
        },
        "peft_config": {"peft_type": "LORA", "r": 8, "target_modules": ["q_proj"], "peft_version": "0.18.1.dev0"},
        "error_msg": "",
    },
    "train_info": {
        "accelerator_memory_reserved_avg": 5_000_000_001,
        "accelerator_memory_max": 7_000_000_001,
        "accelerator_memory_reserved_99th": 6_000_000_001,
        "train_time": 60.25,
        "file_size": 4_200_001,
        "num_trainable_params": 1_050_001,
        "num_total_params": 3_000_000_001,
        "status": "success",
        "metrics": [
            {"step": 2, **_POINT},
            {"step": 4, **_POINT, "valid accuracy": 0.75, "train samples": 16},
            {"step": 4, "test accuracy": 0.625, "train loss": 1.125, "train samples": 16, "train total tokens": 400,
             "forgetting": 0.0625},
        ],
    },
    "meta_info": {
        "model_info": {"sha": "aaa", "created_at": "2024-09-18T15:23:48+00:00"},
        "dataset_info": {"metamath": {"sha": "bbb"}, "gsm8k": {"sha": "ccc"}},
        "package_info": {"torch-version": "2.9.0", "torch-commit-hash": None, "peft-version": "0.18.1.dev0",
                         "peft-commit-hash": "8be1", "transformers-version": "4.57.1"},
        "system_info": {"system": "Linux", "release": "6.14", "machine": "x86_64", "accelerator": "NVIDIA L40S"},
        "pytorch_info": "PyTorch built with: …",
    },
}  # fmt: skip

_IMAGE_SETTINGS: dict[str, Any] = {
    "model_id": "org/images", "dataset_id": "org/cats", "dataset_split": "train", "dtype": "bfloat16",
    "resolution": 512, "batch_size": 2, "batch_size_eval": 1, "repeats": 10, "max_steps": 5, "eval_steps": 2,
    "compile": False, "use_gc": True, "seed": 0, "grad_norm_clip": 1.0, "optimizer_type": "AdamW",
    "optimizer_kwargs": {"lr": 0.001}, "lr_scheduler": None, "use_amp": False, "autocast_adapter_dtype": True,
    "instance_prompts": ["sks cat"], "image_column": "image", "valid_size": 2, "test_size": 4,
    "num_inference_steps": 20, "guidance_scale": 3.5, "max_sequence_length": 512,
    "text_encoder_out_layers": [10, 20], "weighting_scheme": "none", "logit_mean": 0.0, "logit_std": 1.0,
    "mode_scale": 1.29, "dino_model_id": "org/dino", "dino_image_size": 224, "sample_image_prompts": ["a cat"],
    "drift_image_prompts": ["a dog"],
}  # fmt: skip


def text_result(**run_info: Any) -> dict[str, Any]:
    """A result of the text benchmark, with fields of ``run_info`` changed."""
    document = copy.deepcopy(_TEXT)
    document["run_info"] |= run_info
    return document


def image_result() -> dict[str, Any]:
    """A result of the image benchmark: five steps, of which the last was after the last validation."""
    document = text_result(experiment_name="lora/flux-default", train_config=copy.deepcopy(_IMAGE_SETTINGS))
    points = [{k: v for k, v in p.items() if "accuracy" not in k} for p in document["train_info"]["metrics"][:2]]
    last = {"step": 5, "test dino_similarity": 0.5, "drift": 0.25, "train loss": 0.75, "train samples": 10}
    document["train_info"]["metrics"] = [*({**p, "valid dino_similarity": 0.125} for p in points), last]
    document["meta_info"]["dataset_info"] = {"sha": "ddd"}
    return document
