"""An image pipeline of FLUX.2's architecture with random weights, what compares pictures, and pictures to learn from.

python random_pipeline.py FOLDER DEVICE DTYPE draws the weights
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["TEMPLATE", "write_configs", "write_pictures"]

TEMPLATE = (
    "{% for message in messages %}<s>{{ message.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"
)
PARTS = {
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3ForCausalLM"],
    "tokenizer": ["transformers", "Qwen2TokenizerFast"],
    "transformer": ["diffusers", "Flux2Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKLFlux2"],
}
TEXT_LAYERS = 4
HEAD = 64
STATES = 3
"""Layers of the text encoder whose states stand side by side in what the transformer is told."""


def write_configs(folder: Path, shapes: dict[str, dict[str, Any]], prompt_tokens: int) -> None:
    """Write the pipeline without weights, which is all a prediction needs.

    Args:
        folder: Made here.
        shapes: Settings of ``transformer`` and ``vae``.
        prompt_tokens: Longest prompt.
    """
    for part, settings in shapes.items():
        (folder / part).mkdir(parents=True)
        config = {"_class_name": PARTS[part][1], **settings}
        (folder / part / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer").mkdir()
    kept = {"model_max_length": prompt_tokens}
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(kept), encoding="utf-8")
    index = {"_class_name": "Flux2KleinPipeline", "is_distilled": False, **PARTS}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")


def write_pictures(folder: Path, count: int, side: int) -> None:
    """Write pictures of noise, each with a prompt of its own."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(count):
        pixels = draw.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"{number} zuv", encoding="utf-8")


def write_weights(folder: Path, device: str, dtype: Any) -> None:
    """Draw weights for the configs on the device; scheduler, text encoder and tokenizer are made whole here."""
    import diffusers
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    transformer = json.loads((folder / "transformer" / "config.json").read_text(encoding="utf-8"))
    tokens = _tokenizer(json.loads((folder / "tokenizer" / "tokenizer_config.json").read_text(encoding="utf-8")))
    width = transformer["joint_attention_dim"] // STATES
    config = Qwen3Config(
        vocab_size=len(tokens),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=max(1, width // HEAD),
        num_key_value_heads=1,
        head_dim=min(HEAD, width),
        max_position_embeddings=tokens.model_max_length,
        bos_token_id=None,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )
    with torch.device(device):
        parts: dict[str, Any] = {"text_encoder": Qwen3ForCausalLM(config)}
        for part in ("transformer", "vae"):
            made = getattr(diffusers, PARTS[part][1])
            parts[part] = made.from_config(made.load_config(folder / part))
    for part, model in parts.items():
        model.to(dtype).save_pretrained(folder / part)
    tokens.save_pretrained(folder / "tokenizer")
    scheduler: Any = diffusers.FlowMatchEulerDiscreteScheduler
    scheduler(shift=3.0, use_dynamic_shifting=True).save_pretrained(folder / "scheduler")


def write_encoder(folder: Path) -> None:
    """A small vision model of DINOv2's kind."""
    import torch
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    Dinov2Model(Dinov2Config(**sizes, image_size=28, patch_size=14)).save_pretrained(folder)
    BitImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)


def _tokenizer(settings: dict[str, Any]) -> Any:
    """Of single bytes, with a template for a turn."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import Qwen2TokenizerFast

    words = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(words[:3])
    tokens = Qwen2TokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<pad>", **settings
    )
    tokens.chat_template = TEMPLATE
    return tokens


if __name__ == "__main__":
    import torch

    target, on, kind = sys.argv[1:4]
    write_weights(Path(target), on, getattr(torch, kind))
    write_encoder(Path(target).with_name("encoder"))
