"""Models that draw images from text: the kind of base model whose denoiser is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from peftscope.errors import ModelError, unknown_name
from peftscope.models.device import choose_device, choose_dtype
from peftscope.models.kinds.base import BaseFacts, Batch, LoadedModel, ModelKind, ModelProfile, Scored
from peftscope.models.kinds.text_to_image.files import PipelineFiles, locate_pipeline
from peftscope.models.kinds.text_to_image.flux2 import Flux2Klein
from peftscope.models.kinds.text_to_image.generator import ImageGenerator
from peftscope.models.kinds.text_to_image.pipeline import ImagePipeline
from peftscope.models.kinds.text_to_image.profile import TextToImageProfile
from peftscope.models.kinds.text_to_image.stable_diffusion import StableDiffusion, StableDiffusionXL
from peftscope.models.kinds.text_to_image.transformer import is_image_model, read_transformer_config
from peftscope.schema.study import ModelSpec

__all__ = ["TextToImage"]

PIPELINES: Mapping[str, type[ImagePipeline]] = {
    pipeline.class_name: pipeline for pipeline in (Flux2Klein, StableDiffusion, StableDiffusionXL)
}


class TextToImage(ModelKind):
    """Diffusion pipelines of ``diffusers``: the denoiser is trained, its text encoder and autoencoder stay."""

    name: ClassVar[str] = "text-to-image"
    prediction: ClassVar[str] = "the pipeline's own scheduler"

    def inspect(self, spec: ModelSpec) -> BaseFacts:
        """The pipeline, of which no weights are read yet; one that is not on this machine is fetched whole."""
        pipeline = self._pipeline(spec)
        return BaseFacts(
            processor=pipeline,
            weights_sha256=pipeline.files.weights_sha256,
            settings_sha256=pipeline.files.settings_sha256,
            dtype=pipeline.dtype,
            width=_width(pipeline.files, pipeline.denoiser),
            folder=pipeline.files.folder,
        )

    def load(self, spec: ModelSpec) -> LoadedModel:
        """The denoiser, with its pipeline for a processor."""
        pipeline = self._pipeline(spec)
        model = pipeline.load_denoiser()
        files = pipeline.files
        return LoadedModel(
            model=model,
            processor=pipeline,
            weights_sha256=files.weights_sha256,
            settings_sha256=files.settings_sha256,
            dtype=pipeline.dtype,
            device=pipeline.device,
            width=_width(files, pipeline.denoiser),
            revision=files.revision,
            weight_files=tuple(path.relative_to(files.folder).as_posix() for path in files.weight_files),
            num_params=sum(parameter.numel() for parameter in model.parameters()),
        )

    def predictor(self, loaded: LoadedModel, scored: Scored) -> ImageGenerator:
        """Draws, as the pipeline does."""
        return ImageGenerator(loaded.processor, scored)

    def knows(self, spec: ModelSpec) -> bool:
        """By its pipeline's configs."""
        return is_image_model(spec.source, spec.revision)

    def part(self, processor: ImagePipeline) -> str:
        """The denoiser's name."""
        return processor.denoiser

    def outputs(self, processor: ImagePipeline, model: nn.Module, batch: Batch) -> Tensor:
        """What the denoiser predicts, a row for each of a picture's tokens or places."""
        if "prompts" not in batch:
            raise NotImplementedError("batches of this task hold no prompts")
        said = processor.predicted(model, batch)
        return said.flatten(0, 1) if said.ndim == 3 else said.movedim(1, -1).flatten(0, -2)

    def profile(self, spec: ModelSpec, dtype: torch.dtype) -> ModelProfile | None:
        """From the config of the pipeline's transformer.

        Raises:
            ModelError: It is to be quantized, which is not predicted.
        """
        config = read_transformer_config(spec.source, spec.revision)
        if config is None:
            return None
        if spec.quantization is not None:
            raise ModelError(f"quantization {spec.quantization}: not predicted for image models; leave it out")
        return TextToImageProfile(config=config, dtype=dtype)

    def _pipeline(self, spec: ModelSpec) -> ImagePipeline:
        if spec.quantization is not None:
            raise ModelError("model.quantization: image models are not quantized yet; leave it out")
        device = choose_device(spec.device)
        files = locate_pipeline(spec)
        if files.class_name not in PIPELINES:
            reason = unknown_name("image pipeline", files.class_name, tuple(PIPELINES))
            raise ModelError(f"model.source: {spec.source!r}: {reason}")
        return PIPELINES[files.class_name](files, device=device, dtype=choose_dtype(spec.dtype, device))


def _width(files: PipelineFiles, denoiser: str) -> int | None:
    """Width of the denoiser's layers; None for a UNet, which has several."""
    settings = files.settings(denoiser)
    heads, size = settings.get("num_attention_heads"), settings.get("attention_head_dim")
    return heads * size if isinstance(heads, int) and isinstance(size, int) else None
