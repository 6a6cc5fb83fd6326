"""FLUX.2 klein: a transformer that learns by flow matching, with states of a language model for prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from peftscope.models.device import give_back_cache
from peftscope.models.kinds.base import Batch
from peftscope.models.kinds.text_to_image.flow_matching import flow_matching_loss, predicted_velocity
from peftscope.models.kinds.text_to_image.noise import drawn_noise, drawn_sigmas, loss_weights
from peftscope.models.kinds.text_to_image.pipeline import Drawing, ImagePipeline, NoiseLevels, Prompts, as_bytes

__all__ = ["Flux2Klein"]

MOST_TOKENS = 512
"""Of a prompt, as the pipeline has it."""


class Flux2Klein(ImagePipeline):
    """``Flux2KleinPipeline`` of diffusers."""

    class_name: ClassVar[str] = "Flux2KleinPipeline"
    denoiser: ClassVar[str] = "transformer"
    patch: ClassVar[int] = 2

    def cut_prompts(self, prompts: Sequence[str], *, max_tokens: int | None = None) -> list[str]:
        """Those of more tokens than are read, the chat template's among them."""
        tokenizer = self.with_parts("tokenizer").tokenizer
        most = _most_tokens(tokenizer, max_tokens)
        turns = [tokenizer(_turn(tokenizer, prompt), verbose=False)["input_ids"] for prompt in prompts]
        return [prompt for prompt, ids in zip(prompts, turns) if len(ids) > most]

    def encode_prompts(
        self, prompts: Sequence[str], *, max_tokens: int | None = None, layers: Sequence[int] | None = None
    ) -> Prompts:
        """States (N, T, D) of three layers of the text encoder, side by side; shorter prompts are padded to T."""
        pipeline = self.with_parts("text_encoder", "tokenizer")
        length = _most_tokens(pipeline.tokenizer, max_tokens)
        taken = tuple(layers or _quarters(pipeline.text_encoder.config.num_hidden_layers))
        rows = []
        with self.working(pipeline.text_encoder.eval()), torch.inference_mode():
            for prompt in prompts:
                states, _ = pipeline.encode_prompt(
                    prompt=prompt, device=self.device, max_sequence_length=length, text_encoder_out_layers=taken
                )
                rows.append(states.cpu())
        del pipeline
        give_back_cache(self.device)
        return {"prompts": torch.cat(rows).clone()}

    def encode_pictures(self, pixels: Tensor) -> Tensor:
        """Patches of latents (N, S, C) with mean 0 and variance 1 over the autoencoder's own data."""
        pipeline = self.made_of(**self._nothing_but(vae=self.autoencoder))
        rows = []
        with self.working(self.autoencoder) as vae, torch.inference_mode():
            for picture in pixels[:, None]:
                latents = pipeline._encode_vae_image(picture.to(vae.device, vae.dtype), generator=None)
                rows.append(pipeline._pack_latents(latents).cpu())
        return torch.cat(rows).clone()

    @cached_property
    def _ladder(self) -> Any:
        """The scheduler as it is before it draws anything."""
        return type(self.scheduler).from_config(self.scheduler.config)

    def batch(self, latents: Tensor, prompts: Prompts, levels: NoiseLevels, generator: torch.Generator) -> Batch:
        """What ``flow_matching_loss`` takes."""
        sigmas = drawn_sigmas(self._ladder, len(latents), levels, generator)
        side = math.isqrt(latents.shape[1])
        states = prompts["prompts"]
        return {
            "latents": latents,
            "noise": drawn_noise(latents, generator),
            "sigmas": sigmas.to(latents.dtype),
            "weights": loss_weights(levels, sigmas),
            "prompts": states,
            "image_places": _places(len(latents), side, side, 1),
            "prompt_places": _places(len(latents), 1, 1, states.shape[1]),
        }

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Of the velocity."""
        return flow_matching_loss(model, batch)

    def predicted(self, model: nn.Module, batch: Batch) -> Tensor:
        """The velocity."""
        return predicted_velocity(model, batch)

    def draw(self, model: nn.Module, prompts: Prompts, nothing: Prompts, seeds: Sequence[int], how: Drawing) -> Tensor:
        """By the velocity, from noise to picture."""
        states = prompts["prompts"].to(self.device, self.dtype)
        with self.working(self.autoencoder):
            pipeline = self.made_of(
                **self._nothing_but(vae=self.autoencoder, transformer=model, scheduler=self.scheduler)
            )
            drawn = pipeline(
                prompt_embeds=states,
                negative_prompt_embeds=nothing["prompts"].to(self.device, self.dtype).expand_as(states),
                **self.settings_of(seeds, how),
            )
            return as_bytes(drawn.images)

    def _nothing_but(self, **parts: Any) -> dict[str, Any]:
        names = ("scheduler", "vae", "text_encoder", "tokenizer", "transformer")
        return {**dict.fromkeys(names), **parts}


def _most_tokens(tokenizer: Any, asked: int | None) -> int:
    return min(MOST_TOKENS, asked or MOST_TOKENS, int(tokenizer.model_max_length))


def _turn(tokenizer: Any, prompt: str) -> str:
    """A prompt as the pipeline writes it."""
    turns = [{"role": "user", "content": prompt}]
    written: str = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    return written


def _quarters(num_layers: int) -> tuple[int, int, int]:
    """The layers the family's larger models are trained with: 9, 18 and 27 of 36."""
    return num_layers // 4, num_layers // 2, 3 * num_layers // 4


def _places(batch: int, rows: int, columns: int, tokens: int) -> Tensor:
    """Coordinates (B, S, 4) of tokens: time, row, column, number in the prompt."""
    axes = [torch.arange(size) for size in (1, rows, columns, tokens)]
    return torch.cartesian_prod(*axes).expand(batch, -1, -1)
