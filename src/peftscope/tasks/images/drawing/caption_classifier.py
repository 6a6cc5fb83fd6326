"""Reads the words of a caption off a drawn picture: object, colour, background and place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from peftscope.tasks.images.drawing.scenes import ATTRIBUTES

__all__ = ["CaptionClassifier", "read_words", "words_in"]

SIDE = 64
WEIGHTS = Path(__file__).with_suffix(".safetensors")
WIDTHS = (24, 48, 96, 96)


class CaptionClassifier(nn.Module):
    """A small convolutional network with a head for each attribute."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS), WIDTHS):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers)
        spots = (SIDE // 2 ** len(WIDTHS)) ** 2
        self.heads = nn.ModuleDict(
            {name: nn.Linear(WIDTHS[-1] * spots, len(words)) for name, words in ATTRIBUTES.items()}
        )

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Values (N, words) of each attribute, the largest for the word that is seen.

        Args:
            pixels: (N, 3, 64, 64) from −1 to 1.
        """
        seen = self.body(pixels).flatten(1)
        return {name: head(seen) for name, head in self.heads.items()}


def words_in(prompt: str, attributes: Iterable[str]) -> dict[str, str]:
    """The words of some attributes that a prompt says.

    >>> words_in("a red star at night", ["object", "background", "place"])
    {'object': 'star', 'background': 'at night'}
    """
    said = {name: [word for word in ATTRIBUTES[name] if word in prompt] for name in attributes}
    return {name: words[0] for name, words in said.items() if words}


def read_words(pictures: Tensor) -> list[Mapping[str, str]]:
    """The words of each picture (N, H, W, 3) of 8 bits."""
    pixels = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0
    pixels = F.interpolate(pixels, (SIDE, SIDE), mode="area")
    with torch.inference_mode():
        seen = _classifier()(pixels)
    best = {name: values.argmax(-1).tolist() for name, values in seen.items()}
    return [{name: ATTRIBUTES[name][rows[row]] for name, rows in best.items()} for row in range(len(pictures))]


@lru_cache(maxsize=1)
def _classifier() -> CaptionClassifier:
    model = CaptionClassifier()
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval().requires_grad_(False)
