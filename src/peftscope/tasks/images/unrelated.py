"""What a model that learned a concept draws of other things: drift, and the concept bleeding into its class."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from peftscope.models.kinds.text_to_image.generator import ImageGenerator
from peftscope.tasks.base import Retention

if TYPE_CHECKING:
    from peftscope.tasks.images.concept import ConceptTask

__all__ = ["UnrelatedPrompts"]

NOISE = 1_000_000
"""First of the noise seeds, which are those of no test picture."""


NO_DIGEST = torch.zeros(0, dtype=torch.uint8)


class UnrelatedPrompts(Retention):
    """Pictures of unrelated prompts and of the concept's class, before and after, from the same noise.

    Drift is the mean distance (1 − cosine of the encoder's features) between the base's picture and the trained
    model's. Class bleed is how much nearer the trained model's pictures of the class are to the concept's training
    pictures than the base's are. Both are 0 of the base itself.

    Args:
        task: Draws and compares.
        unrelated: Prompts that have nothing to do with the concept.
        of_class: Prompts of its class.
    """

    def __init__(self, task: ConceptTask, unrelated: Sequence[str], of_class: Sequence[str]) -> None:
        self.task, self.unrelated, self.of_class = task, tuple(unrelated), tuple(of_class)

    def fingerprint(self) -> dict[str, Any]:
        """Prompts, and how they are drawn and compared."""
        options = self.task.options
        drawn_by = ("num_inference_steps", "guidance_scale", "eval_batch_size", "max_tokens", "text_layers")
        return {
            "unrelated": self.unrelated,
            "of_class": self.of_class,
            "side": options.side,
            "encoder": [self.task.encoder_sha256, options.encoder_size],
            **options.model_dump(mode="json", include=set(drawn_by)),
        }

    def baseline(self, base: nn.Module) -> dict[str, Tensor]:
        """Features (N, D) of the base's pictures, the unrelated prompts first; and its pictures of the samples."""
        found = {"features": self.task.encode(self._drawn(base))}
        prompts = self.task.sample_prompts()
        if prompts:
            found["samples"] = self.task.sample_pictures(base, ImageGenerator(self.task.pipeline), draws=1)
            found["samples_of"] = _digest(prompts)
        return found

    @staticmethod
    def samples_in(baseline: Mapping[str, Tensor] | None, prompts: Sequence[str]) -> Tensor | None:
        """The base's pictures of the sample prompts, one for each; None where it kept none, or of others."""
        if baseline is None or not prompts or not torch.equal(baseline.get("samples_of", NO_DIGEST), _digest(prompts)):
            return None
        return baseline["samples"]

    def compare(self, model: nn.Module, baseline: dict[str, Tensor]) -> dict[str, float]:
        """``image_drift`` and ``class_bleed``."""
        before, after = baseline["features"], self.task.encode(self._drawn(model))
        alike = (before * after).sum(-1)
        found: dict[str, float] = {}
        if self.unrelated:
            found["image_drift"] = float((1.0 - alike[: len(self.unrelated)]).clamp(min=0.0).mean())
        if self.of_class:
            concept = self.task.concept_features()
            nearness = (after[len(self.unrelated) :] @ concept.T).mean(-1)
            base_nearness = (before[len(self.unrelated) :] @ concept.T).mean(-1)
            found["class_bleed"] = float((nearness - base_nearness).mean())
        return found

    def _drawn(self, model: nn.Module) -> Tensor:
        prompts = [*self.unrelated, *self.of_class]
        seeds = list(range(NOISE, NOISE + len(prompts)))
        with torch.no_grad():
            return self.task.draw(model, ImageGenerator(self.task.pipeline), prompts, seeds)


def _digest(prompts: Sequence[str]) -> Tensor:
    """Hash of prompts as a tensor, to be kept beside what was drawn of them."""
    return torch.tensor(list(hashlib.sha256(repr(tuple(prompts)).encode()).digest()), dtype=torch.uint8)
