"""Settings of small models, as their config.json files have them."""

from __future__ import annotations

from typing import Any

__all__ = ["LLAMA", "TRANSFORMER"]

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
}
TRANSFORMER: dict[str, Any] = {
    "_class_name": "Flux2Transformer2DModel",
    "num_layers": 1,
    "num_single_layers": 2,
    "attention_head_dim": 32,
    "num_attention_heads": 2,
    "joint_attention_dim": 48,
    "in_channels": 16,
    "axes_dims_rope": [8, 8, 8, 8],
    "guidance_embeds": False,
}
