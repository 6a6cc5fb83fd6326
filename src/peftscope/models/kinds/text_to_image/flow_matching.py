"""The loss diffusion transformers learn by: the velocity from an image's latents to noise."""

from __future__ import annotations

from torch import Tensor, nn

from peftscope.models.kinds.base import Batch

__all__ = ["flow_matching_loss"]


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
    latents, noise = batch["latents"], batch["noise"]
    sigmas = batch["sigmas"].view(-1, 1, 1)
    noisy = (1.0 - sigmas) * latents + sigmas * noise
    velocity = model(
        hidden_states=noisy,
        timestep=batch["sigmas"],
        encoder_hidden_states=batch["prompts"],
        img_ids=batch["image_places"],
        txt_ids=batch["prompt_places"],
        return_dict=False,
    )[0]
    target = noise - latents
    errors = (velocity.float() - target.float()) ** 2
    if "weights" in batch:
        errors = errors * batch["weights"].view(-1, 1, 1)
    return errors.sum(), target.numel()
