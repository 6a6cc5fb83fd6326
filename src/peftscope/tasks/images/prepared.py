"""A concept's pictures and prompts, and what pipeline and encoder make of them; made once per study and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from peftscope.errors import StoreError
from peftscope.tasks.base import Split

__all__ = ["Encodings", "Pictures", "read_prepared", "save_prepared"]

TENSORS, FACTS = "concept.safetensors", "concept.json"


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """N pictures with their prompts, and which of them are in which split."""

    picture_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    """Of each picture."""
    pixels: Tensor
    """(N, H, W, 3) of 8 bits."""
    splits: Mapping[Split, tuple[int, ...]]
    """Rows of each split."""

    def digest(self, split: Split) -> str:
        """Hash of a split's pictures and prompts."""
        total = hashlib.sha256()
        for row in self.splits[split]:
            total.update(f"{self.picture_ids[row]}\0{self.prompts[row]}\0".encode())
            total.update(self.pixels[row].numpy().tobytes())
        return total.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Encodings:
    """What is made of N pictures and P prompts."""

    latents: Tensor
    """(N, …) as the pipeline gives them."""
    features: Tensor
    """(N, D) as the encoder gives them, of length 1."""
    prompts: tuple[str, ...]
    """Every prompt that is trained on or drawn, once; the empty one among them."""
    states: Mapping[str, Tensor]
    """What the text encoder says of them, a row each."""
    cut: tuple[str, ...] = ()
    """Those of which it does not read the end."""

    def states_of(self, prompts: Sequence[str]) -> Mapping[str, Tensor]:
        """The rows of some prompts."""
        rows = [self.prompts.index(prompt) for prompt in prompts]
        return {key: value[rows] for key, value in self.states.items()}


def save_prepared(folder: Path, settings: str, pictures: Pictures, made: Encodings) -> None:
    """Write pictures and what was made of them.

    Args:
        folder: An empty one.
        settings: Hash of what it was made with.
        pictures: As they were cut first.
        made: Of them.

    Raises:
        OSError: The disk is full or not writable.
    """
    tensors = {f"states.{key}": value.contiguous() for key, value in made.states.items()}
    tensors |= {"pixels": pictures.pixels, "latents": made.latents.contiguous(), "features": made.features.contiguous()}
    facts = {
        "settings": settings,
        "picture_ids": pictures.picture_ids,
        "picture_prompts": pictures.prompts,
        "splits": dict(pictures.splits),
        "prompts": made.prompts,
        "cut": made.cut,
    }
    try:
        save_file(tensors, folder / TENSORS)
    except SafetensorError as error:  # how safetensors tells of a full disk
        raise OSError(str(error)) from error
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def read_prepared(folder: Path, settings: str) -> tuple[Pictures, Encodings]:
    """What ``save_prepared`` wrote.

    Raises:
        StoreError: It cannot be read, or was made with other settings.
    """
    try:
        tensors: dict[str, Tensor] = load_file(folder / TENSORS)
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        states = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith("states.")}
        pictures = Pictures(
            picture_ids=tuple(facts["picture_ids"]),
            prompts=tuple(facts["picture_prompts"]),
            pixels=tensors["pixels"].to(torch.uint8),
            splits={split: tuple(rows) for split, rows in facts["splits"].items()},
        )
        made = Encodings(
            latents=tensors["latents"],
            features=tensors["features"],
            prompts=tuple(facts["prompts"]),
            states=states,
            cut=tuple(facts["cut"]),
        )
        kept_with = facts["settings"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise StoreError(f"{folder}: the pictures kept there cannot be read ({error})") from error
    if kept_with != settings:
        raise StoreError(f"{folder}: the pictures kept there were made ready for another model or with other options")
    return pictures, made
