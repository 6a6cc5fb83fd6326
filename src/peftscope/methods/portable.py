"""What ``peft`` alone needs to load a checkpoint, where peftscope is not installed; read without loading anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peftscope.errors import MethodRefused, StoreError
from peftscope.schema.reader import read_json

__all__ = ["ADAPTER_FILE", "CONFIG_FILE", "START_FILE", "portable_config"]

ADAPTER_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
START_FILE = "initial_adapter.safetensors"
"""Adapter weights as they began, where the base was changed by them."""


def portable_config(folder: Path) -> dict[str, Any]:
    """The config of an adapter as ``peft`` alone needs it to load the folder's weights onto the original base.

    Raises:
        StoreError: Config or weights are missing, or the config cannot be read.
        MethodRefused: The base has to be changed first, by what lies beside the weights and ``peft`` does not read.
    """
    path = folder / CONFIG_FILE
    if not (folder / ADAPTER_FILE).is_file():
        raise StoreError(f"{folder / ADAPTER_FILE}: not there; weights are taken as safetensors alone")
    config = read_json(path)
    if not isinstance(config, dict):
        raise StoreError(f"{path}: holds no settings")
    if (folder / START_FILE).exists():
        raise MethodRefused(
            f"{folder}: its training began by changing the base with {START_FILE}, which peft alone does not do again"
        )
    if config.get("init_lora_weights") == "eva":
        config["init_lora_weights"] = True  # the data are not there; what they led to is in the weights
    return config
