"""Small models that draw: a diffusion transformer and a UNet, and what such models read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.errors import MissingExtra, ModelError
from peftscope.models.kinds.base import Batch
from peftscope.models.miniatures.base import Miniature, seeded

__all__ = ["diffusers_class", "of_image_model", "transformer", "unet"]

SIDE, PROMPT = 4, 6
"""Patches on a side, and tokens of a prompt."""


def diffusers_class(name: str) -> Any:
    """A class of diffusers.

    Raises:
        MissingExtra: It is not installed.
        ModelError: It has no such class.
    """
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtra("diffusers", "images", "an image model") from error
    found = getattr(diffusers, name, None)
    if found is None:
        raise ModelError(f"diffusers {diffusers.__version__} has no class {name!r}; a newer one may")
    return found


def of_image_model(name: str, make: Callable[[], nn.Module], **more: Any) -> Miniature:
    """A miniature of a part of a pipeline that predicts noise or a velocity.

    Raises:
        ModelError: What it reads is not known.
    """
    made = seeded(make)
    model: Any = made()
    takes = inspect.signature(model.forward).parameters
    is_unet = "sample" in takes and "encoder_hidden_states" in takes
    if not is_unet and not {"hidden_states", "encoder_hidden_states", "timestep"} <= takes.keys():
        raise ModelError(f"{type(model).__name__} reads {', '.join(takes)}: how to make such inputs is not known here")
    batch = partial(_unet_batch if is_unet else _transformer_batch, config=dict(model.config), takes=frozenset(takes))
    return Miniature(
        name=name,
        capability="unet" if is_unet else "diffusion-transformer",
        make=made,
        batch=batch,
        part="unet" if is_unet else "transformer",
        **more,
    )


def _noise(draw: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=draw)


def _unet_batch(seed: int, rows: int, *, config: dict[str, Any], takes: frozenset[str]) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    width = config["cross_attention_dim"]
    side = 2 ** (len(config["block_out_channels"]) + 1)
    found: Batch = {
        "sample": _noise(draw, rows, config["in_channels"], side, side),
        "timestep": torch.randint(1, 999, (rows,), generator=draw),
        "encoder_hidden_states": _noise(draw, rows, PROMPT, width if isinstance(width, int) else width[0]),
    }
    if config.get("addition_embed_type") == "text_time":  # SDXL's sizes beside a pooled prompt
        sizes = 6
        pooled = config["projection_class_embeddings_input_dim"] - sizes * config["addition_time_embed_dim"]
        found["added_cond_kwargs"] = {
            "text_embeds": _noise(draw, rows, pooled),
            "time_ids": torch.full((rows, sizes), 32.0),
        }
    return found


def _transformer_batch(seed: int, rows: int, *, config: dict[str, Any], takes: frozenset[str]) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    prompt = next(
        int(config[name])
        for name in ("joint_attention_dim", "cross_attention_dim", "caption_channels", "text_embed_dim")
        if config.get(name)
    )
    channels = int(config["in_channels"])
    is_packed = "img_ids" in takes
    shape = (rows, SIDE * SIDE, channels) if is_packed else (rows, channels, 2 * SIDE, 2 * SIDE)
    found: Batch = {
        "hidden_states": _noise(draw, *shape),
        "encoder_hidden_states": _noise(draw, rows, PROMPT, prompt),
        "timestep": torch.rand(rows, generator=draw) if is_packed else torch.randint(1, 999, (rows,), generator=draw),
    }
    if is_packed:
        axes = len(config.get("axes_dims_rope") or (0, 0, 0))
        places = torch.zeros(SIDE * SIDE, axes)
        places[:, 1], places[:, 2] = torch.arange(SIDE * SIDE) // SIDE, torch.arange(SIDE * SIDE) % SIDE
        found["img_ids"], found["txt_ids"] = places, torch.zeros(PROMPT, axes)
    if "pooled_projections" in takes and config.get("pooled_projection_dim"):
        found["pooled_projections"] = _noise(draw, rows, int(config["pooled_projection_dim"]))
    if "guidance" in takes and config.get("guidance_embeds"):
        found["guidance"] = torch.full((rows,), 3.5)
    return found


def transformer() -> Miniature:
    """FLUX.2's, of two blocks of either sort."""

    def make() -> nn.Module:
        model: nn.Module = diffusers_class("Flux2Transformer2DModel")(
            in_channels=16,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=64,
            num_attention_heads=4,
            joint_attention_dim=96,
            timestep_guidance_channels=32,
            axes_dims_rope=(16, 16, 16, 16),
            guidance_embeds=False,
        )
        return model

    return of_image_model("flux2", make)


def unet() -> Miniature:
    """Stable Diffusion's, of two levels."""

    def make() -> nn.Module:
        model: nn.Module = diffusers_class("UNet2DConditionModel")(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(64, 128),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=64,
            attention_head_dim=4,
            norm_num_groups=8,
        )
        return model

    return of_image_model("stable-diffusion", make)
