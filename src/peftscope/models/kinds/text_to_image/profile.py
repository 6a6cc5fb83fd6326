"""Models that draw images from text, by their transformer's shapes alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.models.kinds.base import Batch, ModelProfile
from peftscope.models.kinds.text_to_image.flow_matching import flow_matching_loss, predicted_velocity
from peftscope.models.kinds.text_to_image.pipeline import as_bytes_there
from peftscope.models.kinds.text_to_image.transformer import TransformerConfig, empty_autoencoder, empty_transformer

__all__ = ["TextToImageProfile"]

POSITION_AXES = 4
"""Coordinates of a token in FLUX.2: time, row, column, layer."""


@dataclass(frozen=True, kw_only=True)
class TextToImageProfile(ModelProfile):
    """A diffusion transformer that learns by flow matching; ``length`` is an image's side in pixels."""

    config: TransformerConfig
    dtype: torch.dtype
    prompt_tokens: int | None = None
    """Prompts are padded to it; None for the pipeline's own."""
    beside_bytes: tuple[int, ...] = ()

    task_type = None
    output_width = None
    unit = "px"
    alike = True
    moves = True

    @property
    def length_step(self) -> int:  # type: ignore[override]
        """Pixels of a token."""
        return self.config.pixels_per_token

    def described(self) -> str:
        """Class of the transformer and type of its weights."""
        return f"{self.config.class_name}, {str(self.dtype).removeprefix('torch.')}"

    def base(self) -> nn.Module:
        """The transformer of the config."""
        return empty_transformer(self.config, dtype=self.dtype)

    def batch(self, batch_size: int, length: int) -> Batch:
        """Latents (B, S, C), prompts (B, T, D) and what ``flow_matching_loss`` needs beside."""
        settings, meta = self.config.settings, torch.device("meta")
        tokens = (length // self.config.pixels_per_token) ** 2
        latents = torch.empty(batch_size, tokens, settings["in_channels"], dtype=self.dtype, device=meta)
        prompts = (batch_size, self.prompt_tokens or self.config.prompt_tokens)
        return {
            "latents": latents,
            "noise": torch.empty_like(latents),
            "sigmas": torch.empty(batch_size, dtype=self.dtype, device=meta),
            "prompts": torch.empty(*prompts, settings["joint_attention_dim"], dtype=self.dtype, device=meta),
            "image_places": torch.empty(batch_size, tokens, POSITION_AXES, dtype=torch.long, device=meta),
            "prompt_places": torch.empty(*prompts, POSITION_AXES, dtype=torch.long, device=meta),
        }

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The loss of learning a concept."""
        return flow_matching_loss(model, batch)

    def notes(self) -> list[str]:
        """Whether the autoencoder is counted."""
        left_out = "scoring is counted without the autoencoder: its config does not lie beside the transformer's"
        return [left_out] if self.config.autoencoder is None else []

    @cached_property
    def _autoencoder(self) -> nn.Module | None:
        settings = self.config.autoencoder
        return None if settings is None else empty_autoencoder(settings, dtype=self.dtype)

    def scoring_parts(self) -> list[nn.Module]:
        """The autoencoder."""
        return [] if self._autoencoder is None else [self._autoencoder]

    def score(self, model: nn.Module, batch_size: int, length: int) -> None:
        """A step of drawing with guidance, and pictures of what it gives, as a pipeline makes them."""
        batch = self.batch(batch_size, length)
        led_to = predicted_velocity(model, batch)
        away = {**batch, "prompts": torch.empty_like(batch["prompts"])}
        led_away = predicted_velocity(model, away)
        latents = led_away + (led_to - led_away)
        decoder: Any = self._autoencoder
        if decoder is not None:
            side = 2 * (length // self.config.pixels_per_token)
            drawn = decoder.decode(latents.view(batch_size, self.config.latent_channels, side, side)).sample
            as_bytes_there((drawn * 0.5 + 0.5).clamp(0, 1))
