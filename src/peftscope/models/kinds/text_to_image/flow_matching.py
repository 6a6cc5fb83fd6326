"""The loss diffusion transformers learn by: the velocity from an image's latents to noise."""

from __future__ import annotations

from torch import Tensor, nn

from peftscope.models.kinds.base import Batch

__all__ = ["flow_matching_loss", "predicted_velocity"]


def flow_matching_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Squared error of the velocity: sum over all elements, and their number.

    Rectified flow (Liu et al. 2023, arXiv:2209.03003, equation 1): between latents x and noise z the model sees
    (1 - sigma) x + sigma z and predicts z - x. The error is taken in float32.

    Args:
        model: A transformer of FLUX.2's signature, with a method or without.
        batch: ``latents`` and ``noise`` of shape (B, S, C) with an image's patches as S tokens, ``sigmas`` (B,) from
            0 to 1, ``prompts`` (B, T, D) as the text encoder gives them, and the tokens' coordinates
            ``image_places`` (B, S, 4) and ``prompt_places`` (B, T, 4).
    """
    velocity = predicted_velocity(model, batch)
    target = batch["noise"] - batch["latents"]
    errors = (velocity.float() - target.float()) ** 2
    if "weights" in batch:
        errors = errors * batch["weights"].view(-1, 1, 1)
    return errors.sum(), target.numel()


def predicted_velocity(model: nn.Module, batch: Batch) -> Tensor:
    """What a model predicts of a batch as ``flow_matching_loss`` takes it: (B, S, C)."""
    sigmas = batch["sigmas"].view(-1, 1, 1)
    velocity: Tensor = model(
        hidden_states=(1.0 - sigmas) * batch["latents"] + sigmas * batch["noise"],
        timestep=batch["sigmas"],
        encoder_hidden_states=batch["prompts"],
        img_ids=batch["image_places"],
        txt_ids=batch["prompt_places"],
        return_dict=False,
    )[0]
    return velocity
