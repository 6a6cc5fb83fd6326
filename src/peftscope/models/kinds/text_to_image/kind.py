"""Models that draw images from text: what they would take to train is predicted; training them is not there yet."""

from __future__ import annotations

from typing import ClassVar

import torch

from peftscope.errors import ModelError
from peftscope.models.kinds.base import BaseFacts, LoadedModel, ModelKind, ModelProfile
from peftscope.models.kinds.text_to_image.profile import TextToImageProfile
from peftscope.models.kinds.text_to_image.transformer import read_transformer_config
from peftscope.schema.study import ModelSpec

__all__ = ["TextToImage"]


class TextToImage(ModelKind):
    """Diffusion transformers of ``diffusers`` that learn by flow matching."""

    name: ClassVar[str] = "text-to-image"

    def inspect(self, spec: ModelSpec) -> BaseFacts:
        """Not there yet."""
        raise ModelError(f"model {spec.source!r}: image models can be planned for, not trained yet")

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Not there yet."""
        raise ModelError(f"model {spec.source!r}: image models can be planned for, not trained yet")

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
