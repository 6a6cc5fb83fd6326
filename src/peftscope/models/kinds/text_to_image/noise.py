"""Noise for training, and how much of it: drawn from a generator, so that a seed decides it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from peftscope.models.kinds.text_to_image.pipeline import NoiseLevels

__all__ = ["drawn_noise", "drawn_sigmas", "loss_weights"]


def drawn_noise(latents: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise of the latents' shape and type."""
    return torch.randn(latents.shape, generator=generator).to(latents.dtype)


def drawn_sigmas(ladder: Any, count: int, levels: NoiseLevels, generator: torch.Generator) -> Tensor:
    """Noise levels (B,) of a scheduler that has drawn nothing yet, in float32."""
    from diffusers.training_utils import compute_density_for_timestep_sampling

    shares = compute_density_for_timestep_sampling(
        "none" if levels.scheme in ("sigma_sqrt", "cosmap") else levels.scheme,
        count,
        logit_mean=levels.logit_mean,
        logit_std=levels.logit_std,
        mode_scale=levels.mode_scale,
        generator=generator,
    )
    chosen = (shares * ladder.config.num_train_timesteps).long().clamp(max=ladder.config.num_train_timesteps - 1)
    sigmas: Tensor = ladder.sigmas[chosen].float()
    return sigmas


def loss_weights(levels: NoiseLevels, sigmas: Tensor) -> Tensor:
    """How much each picture's error counts (B,), in float32."""
    from diffusers.training_utils import compute_loss_weighting_for_sd3

    weights: Tensor = compute_loss_weighting_for_sd3(levels.scheme, sigmas=sigmas)
    return weights.float()
