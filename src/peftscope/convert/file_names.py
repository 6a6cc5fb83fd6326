"""What the files of a conversion are called."""

from __future__ import annotations

__all__ = ["ADAPTER_FILES"]

ADAPTER_FILES = {
    "gguf": "lora.gguf",
    "diffusers": "pytorch_lora_weights.safetensors",
    "kohya": "lora.safetensors",
    "comfy": "lora.safetensors",
}
"""Layout -> its one file, where it has but one."""
