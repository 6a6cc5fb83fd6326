"""How large the check is: for a card, and for a CPU where it shows that the check itself works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["CARD", "CPU", "ImageSizes", "Sizes"]

LLAMA_1B: dict[str, Any] = {
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "intermediate_size": 8192,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"},
}
"""Llama-3.2-1B's."""
NANO: dict[str, Any] = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "intermediate_size": 512,
    "vocab_size": 1280,
    "max_position_embeddings": 1024,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
}
"""nano-lm's."""


FLUX_1B: dict[str, dict[str, Any]] = {
    "transformer": {
        "num_layers": 5,
        "num_single_layers": 20,
        "num_attention_heads": 12,
        "attention_head_dim": 128,
        "joint_attention_dim": 3840,
        "in_channels": 128,
        "guidance_embeds": False,
    },
    "vae": {},
}
"""FLUX.2-klein-base-4B with half its width, and its autoencoder."""
FLUX_SMALL: dict[str, dict[str, Any]] = {
    "transformer": {
        "num_layers": 1,
        "num_single_layers": 2,
        "num_attention_heads": 4,
        "attention_head_dim": 32,
        "joint_attention_dim": 96,
        "in_channels": 16,
        "axes_dims_rope": [8, 8, 8, 8],
        "guidance_embeds": False,
    },
    "vae": {
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
        "block_out_channels": [8, 8, 8],
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "mid_block_add_attention": False,
    },
}


@dataclass(frozen=True, kw_only=True)
class ImageSizes:
    """Settings of the part with an image model."""

    shapes: dict[str, dict[str, Any]]
    """Of its transformer and its autoencoder."""
    prompt_tokens: int
    side: int
    """Of pictures, in pixels."""
    methods: tuple[str, ...]
    batch_size: int
    steps: int
    pictures: int
    """That are drawn."""
    draw_steps: int
    eval_batch_size: int


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Settings of all parts."""

    shapes: dict[str, Any]
    """Of the model with random weights."""
    dtype: str
    """Of its weights."""
    matrix: int
    """Side of the matrices the card's rate is measured with."""
    demo_methods: tuple[str, ...]
    demo_steps: int
    methods: tuple[str, ...]
    checkpointed_methods: tuple[str, ...]
    batch_size: int
    length: int
    steps: int
    scoring_batches: tuple[int, ...]
    new_tokens: int
    killed_methods: tuple[str, ...]
    killed_steps: int
    """Of the study that is killed and gone on with."""
    process_bytes: int
    """What a process takes of the device for itself."""
    general_tokens: int
    speed_methods: tuple[str, ...]
    """Compared with the plain loop in training; the first of them in scoring, too."""
    speed_steps: tuple[int, int]
    """Training steps of either side: first ones, whose time does not count, and those whose time does."""
    speed_prompts: tuple[int, int]
    """Prompts, and how many at once."""
    images: ImageSizes
    limits_s: dict[str, int]
    """Most seconds of each part."""


CARD = Sizes(
    shapes=LLAMA_1B,
    dtype="bfloat16",
    matrix=8192,
    demo_methods=("lora", "oft"),
    demo_steps=40,
    methods=("lora", "dora", "oft", "miss", "lily", "vera", "ia3", "prompt-tuning"),
    checkpointed_methods=("lora", "dora", "oft", "lily"),
    batch_size=4,
    length=512,
    steps=8,
    scoring_batches=(8, 32, 128),
    new_tokens=64,
    killed_methods=("lora", "ia3", "ln-tuning", "vera"),
    killed_steps=100,
    process_bytes=10**9,
    general_tokens=2000,
    speed_methods=("lora", "dora", "oft"),
    speed_steps=(3, 8),
    speed_prompts=(100, 50),
    images=ImageSizes(
        shapes=FLUX_1B, prompt_tokens=512, side=512, methods=("lora", "oft"), batch_size=4, steps=8, pictures=8,
        draw_steps=6, eval_batch_size=4,
    ),
    limits_s={
        "model": 90, "demo": 75, "memory": 200, "quantized": 60, "scoring": 75, "speed": 120, "recovery": 90,
        "repeat": 50, "cpu": 60, "images": 75,
    },
)  # fmt: skip
CPU = Sizes(
    shapes=NANO,
    dtype="float32",
    matrix=1024,
    demo_methods=("lora",),
    demo_steps=3,
    methods=("lora", "ia3"),
    checkpointed_methods=("lora", "ia3"),
    batch_size=2,
    length=96,
    steps=3,
    scoring_batches=(4, 8),
    new_tokens=4,
    killed_methods=("lora", "ia3"),
    killed_steps=20,
    process_bytes=0,
    general_tokens=200,
    speed_methods=("lora",),
    speed_steps=(1, 3),
    speed_prompts=(12, 8),
    images=ImageSizes(
        shapes=FLUX_SMALL,
        prompt_tokens=48,
        side=64,
        methods=("lora", "oft"),
        batch_size=2,
        steps=3,
        pictures=4,
        draw_steps=2,
        eval_batch_size=2,
    ),
    limits_s=dict.fromkeys(
        ("model", "demo", "memory", "quantized", "scoring", "speed", "recovery", "repeat", "cpu", "images"), 180
    ),
)
