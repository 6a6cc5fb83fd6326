"""Stable Diffusion 1.x, 2.x and XL: a UNet that predicts the noise in latents, or the velocity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from peftscope.errors import ModelError
from peftscope.models.device import give_back_cache
from peftscope.models.kinds.base import Batch
from peftscope.models.kinds.text_to_image.noise import drawn_noise
from peftscope.models.kinds.text_to_image.pipeline import Drawing, ImagePipeline, NoiseLevels, Prompts, as_bytes

__all__ = ["StableDiffusion", "StableDiffusionXL"]


class StableDiffusion(ImagePipeline):
    """``StableDiffusionPipeline`` of diffusers."""

    class_name: ClassVar[str] = "StableDiffusionPipeline"
    denoiser: ClassVar[str] = "unet"
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "tokenizer")
    left_out: ClassVar[Mapping[str, Any]] = {
        "safety_checker": None, "feature_extractor": None, "requires_safety_checker": False,
    }  # fmt: skip
    """Of what the pipeline does beside drawing."""

    def cut_prompts(self, prompts: Sequence[str], *, max_tokens: int | None = None) -> list[str]:
        """Those of more tokens than the text encoder has positions."""
        tokenizer = self.with_parts("tokenizer").tokenizer
        ids = [tokenizer(prompt, truncation=False, verbose=False).input_ids for prompt in prompts]
        return [prompt for prompt, own in zip(prompts, ids) if len(own) > tokenizer.model_max_length]

    def encode_prompts(
        self, prompts: Sequence[str], *, max_tokens: int | None = None, layers: Sequence[int] | None = None
    ) -> Prompts:
        """States (N, T, D) of the text encoder's last layer.

        Raises:
            ModelError: Another length or other layers are asked for than the pipeline has.
        """
        if max_tokens is not None or layers is not None:
            raise ModelError(
                f"model {self.files.source!r}: a {self.class_name} has a fixed number of tokens and a fixed layer; "
                "leave max_tokens and text_layers out"
            )
        pipeline = self.with_parts(*self.text_parts)
        rows: dict[str, list[Tensor]] = {}
        with ExitStack() as on_device, torch.inference_mode():
            for name in self.text_parts:
                if isinstance(part := getattr(pipeline, name), nn.Module):
                    on_device.enter_context(self.working(part.eval()))
            for prompt in prompts:
                for key, value in self._encoded(pipeline, prompt).items():
                    rows.setdefault(key, []).append(value.cpu())
        del pipeline
        give_back_cache(self.device)
        return {key: torch.cat(values).clone() for key, values in rows.items()}

    def _encoded(self, pipeline: Any, prompt: str) -> dict[str, Tensor]:
        states, _ = pipeline.encode_prompt(prompt, self.device, 1, do_classifier_free_guidance=False)
        return {"prompts": states}

    def encode_pictures(self, pixels: Tensor) -> Tensor:
        """Latents (N, C, H, W), scaled."""
        rows = []
        with self.working(self.autoencoder) as vae, torch.inference_mode():
            if vae.config.force_upcast and vae.dtype == torch.float16:  # its states overflow there
                vae.float()
            for picture in pixels[:, None]:
                latents = vae.encode(picture.to(vae.device, vae.dtype)).latent_dist.mode()
                rows.append((latents * vae.config.scaling_factor).to(self.dtype).cpu())
        return torch.cat(rows).clone()

    @cached_property
    def _noising(self) -> Any:
        """Adds noise as the denoiser was trained with it, whatever draws."""
        from diffusers import DDPMScheduler

        scheduler: Any = DDPMScheduler
        return scheduler.from_config(self.scheduler.config)

    def batch(self, latents: Tensor, prompts: Prompts, levels: NoiseLevels, generator: torch.Generator) -> Batch:
        """Latents, noise and what the denoiser is to see and to say."""
        noising, dtype = self._noising, latents.dtype
        latents = latents.float()  # a half type has no room for the lowest levels
        count = noising.config.num_train_timesteps
        timesteps = torch.randint(0, count, (len(latents),), generator=generator)
        noise = drawn_noise(latents, generator)
        noisy = noising.add_noise(latents, noise, timesteps)
        by_prediction = {
            "epsilon": noise,
            "v_prediction": noising.get_velocity(latents, noise, timesteps),
            "sample": latents,
        }
        target = by_prediction[noising.config.prediction_type]
        return {"noisy": noisy.to(dtype), "timesteps": timesteps, "target": target.to(dtype), **prompts}

    def check_levels(self, levels: NoiseLevels) -> None:
        """All but an even spread are for flow matching."""
        if levels.scheme != "none":
            raise ModelError(f"weighting_scheme {levels.scheme}: is for flow matching; a {self.class_name} has none")

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Of the noise (Ho et al. 2020, arXiv:2006.11239) or the velocity (Salimans & Ho 2022, arXiv:2202.00512)."""
        said = self.predicted(model, batch)
        return ((said.float() - batch["target"].float()) ** 2).sum(), batch["target"].numel()

    def predicted(self, model: nn.Module, batch: Batch) -> Tensor:
        """The noise or the velocity."""
        said: Tensor = model(
            batch["noisy"],
            batch["timesteps"],
            encoder_hidden_states=batch["prompts"],
            return_dict=False,
            **self._beside(batch),
        )[0]
        return said

    def _beside(self, batch: Batch) -> dict[str, Any]:
        return {}

    def draw(self, model: nn.Module, prompts: Prompts, nothing: Prompts, seeds: Sequence[int], how: Drawing) -> Tensor:
        """By the noise or the velocity the UNet predicts, step by step."""
        told = {key: value.to(self.device, self.dtype) for key, value in prompts.items()}
        against = {key: value.to(self.device, self.dtype).expand_as(told[key]) for key, value in nothing.items()}
        with self.working(self.autoencoder):
            drawn = self._drawing(model)(
                **self._told(told, ""), **self._told(against, "negative_"), **self.settings_of(seeds, how)
            )
            return as_bytes(drawn.images)

    def _drawing(self, model: nn.Module) -> Any:
        parts = {"vae": self.autoencoder, "unet": model, "scheduler": self.scheduler}
        return self.made_of(**{**dict.fromkeys(self.text_parts), **parts}, **self.left_out)

    def _told(self, prompts: Prompts, sign: str) -> dict[str, Tensor]:
        return {f"{sign}prompt_embeds": prompts["prompts"]}


class StableDiffusionXL(StableDiffusion):
    """``StableDiffusionXLPipeline`` of diffusers: two text encoders, and the picture's size told to the UNet."""

    class_name: ClassVar[str] = "StableDiffusionXLPipeline"
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    left_out: ClassVar[Mapping[str, Any]] = {"add_watermarker": False}

    def _encoded(self, pipeline: Any, prompt: str) -> dict[str, Tensor]:
        states, _, pooled, _ = pipeline.encode_prompt(prompt, device=self.device, do_classifier_free_guidance=False)
        if not prompt and pipeline.config.force_zeros_for_empty_prompt:  # as it leads away from nothing
            return {"prompts": torch.zeros_like(states), "pooled": torch.zeros_like(pooled)}
        return {"prompts": states, "pooled": pooled}

    def batch(self, latents: Tensor, prompts: Prompts, levels: NoiseLevels, generator: torch.Generator) -> Batch:
        """Beside what others have, the size of the picture, which is shown whole."""
        made = super().batch(latents, prompts, levels, generator)
        side = latents.shape[-1] * self.step_px
        sizes = torch.tensor([side, side, 0, 0, side, side]).expand(len(latents), -1)
        return {**made, "sizes": sizes.to(latents.dtype)}

    def _beside(self, batch: Batch) -> dict[str, Any]:
        return {"added_cond_kwargs": {"text_embeds": batch["pooled"], "time_ids": batch["sizes"]}}

    def _told(self, prompts: Prompts, sign: str) -> dict[str, Tensor]:
        return {f"{sign}prompt_embeds": prompts["prompts"], f"{sign}pooled_prompt_embeds": prompts["pooled"]}
