"""What drawn pictures tell beside how alike they are to the real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from peftscope.tasks.images.drawing.caption_classifier import read_words, words_in

__all__ = ["Looks", "copied_share", "diversity", "prompt_fidelity"]

SMALL = 32
"""Width and height at which pictures are compared pixel by pixel."""
CONTEXT = ("background", "place")
"""What a prompt says beside the concept."""


class Looks(NamedTuple):
    """Pictures as they are and as the encoder sees them."""

    pictures: Tensor
    """(N, H, W, 3) of 8 bits."""
    features: Tensor
    """(N, D), of length 1."""


def copied_share(drawn: Looks, train: Looks, held_out: Looks) -> float:
    """Share of drawn pictures that are nearer to a training picture than any held-out picture is.

    Nearer in pixels and in features both: a picture that is merely alike in what it shows is no copy.

    Args:
        drawn: Of the model.
        train: What was trained on.
        held_out: Real pictures of the same concept, which are no copies.
    """
    least_pixels = _pixel_distances(held_out.pictures, train.pictures).amin()
    least_features = (1.0 - held_out.features @ train.features.T).amin()
    in_pixels = _pixel_distances(drawn.pictures, train.pictures) < least_pixels
    in_features = 1.0 - drawn.features @ train.features.T < least_features
    return float((in_pixels & in_features).any(dim=1).float().mean())


def diversity(features: Tensor, draws: int) -> float | None:
    """Mean distance (1 − cosine) between pictures of different prompts from the same noise; None of a single prompt.

    Args:
        features: (P · draws, D), draws of a prompt one after the other.
        draws: Noise seeds of each prompt.
    """
    by_draw = features.view(-1, draws, features.shape[-1]).transpose(0, 1)
    count = by_draw.shape[1]
    if count < 2:
        return None
    alike = by_draw @ by_draw.transpose(1, 2)
    own = alike.diagonal(dim1=1, dim2=2).sum(-1)
    return float((1.0 - (alike.sum((1, 2)) - own) / (count * (count - 1))).mean())


def prompt_fidelity(drawn: Tensor, prompts: Sequence[str]) -> float | None:
    """Share of what prompts say of background and place that a classifier sees; None where they say nothing it knows.

    Args:
        drawn: Pictures (N, H, W, 3) of 8 bits.
        prompts: Of each.
    """
    wanted = [words_in(prompt, CONTEXT) for prompt in prompts]
    if not any(wanted):
        return None
    seen = read_words(drawn)
    hits = [seen[row][name] == word for row, words in enumerate(wanted) for name, word in words.items()]
    return sum(hits) / len(hits)


def _pixel_distances(one: Tensor, other: Tensor) -> Tensor:
    """Root mean square differences (N, M) of pictures made small, from 0 to 1."""
    rows, columns = _small(one), _small(other)
    return ((rows[:, None] - columns[None]) ** 2).mean(-1).sqrt()


def _small(pictures: Tensor) -> Tensor:
    pixels = pictures.permute(0, 3, 1, 2).float() / 255.0
    return F.interpolate(pixels, (SMALL, SMALL), mode="area").flatten(1)
