"""All that runs need of a concept's pictures and prompts: encoded once per study, kept as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from peftscope.errors import StoreError
from peftscope.tasks.base import Split

__all__ = ["Encoded", "PreparedConcept"]

TENSORS, FACTS = "concept.safetensors", "concept.json"


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The pictures of a split."""

    picture_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    """Of each picture."""
    latents: Tensor
    """(N, …) as the pipeline gives them."""
    features: Tensor
    """(N, D) as the encoder gives them, of length 1."""
    pictures: Tensor
    """(N, H, W, 3) of 8 bits."""

    def take(self, rows: Sequence[int]) -> Encoded:
        """Some of them."""
        return Encoded(
            picture_ids=tuple(self.picture_ids[row] for row in rows),
            prompts=tuple(self.prompts[row] for row in rows),
            latents=self.latents[rows],
            features=self.features[rows],
            pictures=self.pictures[rows],
        )

    def followed_by(self, other: Encoded) -> Encoded:
        """These and others."""
        return Encoded(
            picture_ids=self.picture_ids + other.picture_ids,
            prompts=self.prompts + other.prompts,
            latents=torch.cat([self.latents, other.latents]),
            features=torch.cat([self.features, other.features]),
            pictures=torch.cat([self.pictures, other.pictures]),
        )


@dataclass(frozen=True, kw_only=True)
class PreparedConcept:
    """A concept as runs need it."""

    settings: str
    """Hash of what it was made with."""
    splits: Mapping[Split, Encoded]
    prompts: tuple[str, ...]
    """Every prompt that is trained on or drawn, once; the empty one is the first."""
    states: Mapping[str, Tensor]
    """What the text encoder says of them, a row each."""

    def save(self, folder: Path) -> None:
        """Write it.

        Raises:
            OSError: The disk is full or not writable.
        """
        tensors = {f"states.{key}": value.contiguous() for key, value in self.states.items()}
        facts: dict[str, Any] = {"settings": self.settings, "prompts": self.prompts, "splits": {}}
        for split, encoded in self.splits.items():
            for name in ("latents", "features", "pictures"):
                tensors[f"{split}.{name}"] = getattr(encoded, name).contiguous()
            facts["splits"][split] = {"picture_ids": encoded.picture_ids, "prompts": encoded.prompts}
        try:
            save_file(tensors, folder / TENSORS)
        except SafetensorError as error:  # how safetensors tells of a full disk
            raise OSError(str(error)) from error
        (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What ``save`` wrote.

        Raises:
            StoreError: It cannot be read.
        """
        try:
            tensors = load_file(folder / TENSORS)
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            splits: dict[Split, Encoded] = {
                split: Encoded(
                    picture_ids=tuple(names["picture_ids"]),
                    prompts=tuple(names["prompts"]),
                    **{name: tensors[f"{split}.{name}"] for name in ("latents", "features", "pictures")},
                )
                for split, names in facts["splits"].items()
            }
            states = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith("states.")}
            return cls(settings=facts["settings"], splits=splits, prompts=tuple(facts["prompts"]), states=states)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise StoreError(f"{folder}: the pictures kept there cannot be read ({error})") from error
