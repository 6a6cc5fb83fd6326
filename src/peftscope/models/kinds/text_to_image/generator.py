"""What an image task scores with: pictures drawn from prompts and from noise that a seed decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.base import Scored
from peftscope.models.kinds.text_to_image.pipeline import Drawing, ImagePipeline, Prompts

__all__ = ["ImageGenerator"]


@dataclass(frozen=True, kw_only=False)
class ImageGenerator:
    """Draws with a model in its pipeline."""

    pipeline: ImagePipeline
    scored: Scored | None = None
    """Told how many pictures are drawn, and of how many."""

    def __call__(
        self, model: nn.Module, prompts: Prompts, nothing: Prompts, seeds: Sequence[int], how: Drawing
    ) -> Tensor:
        """Pictures (N, H, W, 3) of 8 bits, on the CPU.

        Args:
            model: The denoiser, with a method or without.
            prompts: As the pipeline encoded them, with N rows.
            nothing: The empty prompt, one row.
            seeds: N seeds of noise; one and the same gives the same noise whatever is drawn with it.
            how: Size, steps, guidance.
        """
        drawn = []
        with evaluating(model), torch.inference_mode():
            for begin in range(0, len(seeds), how.batch_size):
                rows = slice(begin, begin + how.batch_size)
                some = {key: value[rows] for key, value in prompts.items()}
                drawn.append(self.pipeline.draw(model, some, nothing, seeds[rows], how))
                if self.scored is not None:
                    self.scored(min(begin + how.batch_size, len(seeds)), len(seeds))
        return torch.cat(drawn)
