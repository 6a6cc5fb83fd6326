"""How a folder of pictures would best be learned: prompts, splits and size, from a look at it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from peftscope.errors import DataError
from peftscope.tasks.images.concepts import METADATA, first_names, read_concept
from peftscope.tasks.images.pictures import PICTURE_SUFFIXES, read_picture

__all__ = ["DraftedConcept", "draft_concept", "holds_pictures"]

UNKNOWN_WORD = "sks"
"""Means nothing to the models of today."""
FEWEST = 3
FEW = 8
"""Pictures below which prompts of one's own are needed for a verdict."""
ENCODER = "facebook/dinov2-base"
SIDES = (64, 128, 256, 512, 768, 1024)


@dataclass(frozen=True, kw_only=True)
class DraftedConcept:
    """Options of the task, and why."""

    num_pictures: int
    options: Mapping[str, Any]
    comments: Mapping[str, str]
    reasons: tuple[str, ...]
    oddities: tuple[str, ...]


def holds_pictures(place: str | Path) -> bool:
    """Whether a place is a folder in which there are pictures, and more of them than of anything else."""
    folder = Path(place).expanduser()
    if not folder.is_dir():
        return False
    suffixes = Counter(path.suffix.lower() for path in folder.rglob("*") if path.is_file())
    pictures = sum(suffixes[suffix] for suffix in PICTURE_SUFFIXES)
    captions = min(suffixes[".txt"], pictures)
    return pictures > 0 and pictures + captions > sum(suffixes.values()) / 2


def draft_concept(folder: Path) -> DraftedConcept:
    """The task's options for a folder of pictures.

    Raises:
        DataError: A picture cannot be read, some have a prompt and others none, or there are fewer than three.
    """
    thing = " ".join(folder.resolve().name.replace("_", " ").replace("-", " ").split()) or "thing"
    prompt, told = _prompt(folder, thing)
    found = read_concept(folder, prompt=prompt)
    if len(found) < FEWEST:
        raise DataError(
            f"{folder}: {len(found)} pictures; to train on, for validation and for the test, {FEWEST} at least"
        )
    pictures = [read_picture(each.path) for each in found]
    side = _side(pictures)
    options: dict[str, Any] = {"source": str(folder), "resolution": side, "encoder": ENCODER}
    comments = {
        "max_steps": "each of batch_size pictures",
        "encoder": "compares pictures; efficientnet-lite0 needs no download",
        "resolution": "width and height in pixels; pictures are cut to the square in their middle",
    }
    if prompt is not None:
        options["prompt"] = prompt
        comments["prompt"] = f"{UNKNOWN_WORD} stands for what is to be learned; say what it is behind it"
        options["class_prompts"] = [f"a photo of a {thing}"]
        comments["class_prompts"] = "must not turn into it"
    if prompt is not None or len(found) < FEW:
        options["test_prompts"] = _elsewhere(f"{UNKNOWN_WORD} {thing}")
        comments["test_prompts"] = "where it has not been seen; more of them make verdicts surer"
    return DraftedConcept(
        num_pictures=len(found),
        options=options,
        comments=comments,
        reasons=(told, "scored by how alike drawn pictures are to those held out"),
        oddities=tuple(_oddities([each.picture_id for each in found], [each.path for each in found], pictures, side)),
    )


def _prompt(folder: Path, thing: str) -> tuple[str | None, str]:
    """One for all where none stand beside the pictures, and what is said of that."""
    if (folder / METADATA).is_file():
        return None, f"prompts from {METADATA}"
    if any(path.with_suffix(".txt").is_file() for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES):
        return None, "prompts from .txt files beside the pictures"
    return f"a photo of {UNKNOWN_WORD} {thing}", "no prompts beside the pictures: one for all, after the folder's name"


def _elsewhere(name: str) -> list[str]:
    places = (
        "on a beach",
        "in the snow",
        "in a city street at night",
        "on a wooden table",
        "in a forest",
        "on a shelf",
    )
    return [*(f"{name} {place}" for place in places), f"a drawing of {name}", f"a close-up of {name}"]


def _side(pictures: Sequence[Image.Image]) -> int:
    """The largest usual size that most pictures have."""
    shorter = sorted(min(picture.size) for picture in pictures)
    median = shorter[len(shorter) // 2]
    return max((side for side in SIDES if side <= min(median, 512)), default=SIDES[0])


def _oddities(names: Sequence[str], paths: Sequence[Path], pictures: Sequence[Image.Image], side: int) -> list[str]:
    found = []
    by_content: dict[str, list[str]] = {}
    for name, path in zip(names, paths):
        by_content.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), []).append(name)
    same = [group for group in by_content.values() if len(group) > 1]
    if same:
        found.append(f"{sum(map(len, same))} pictures stand there more than once ({' = '.join(same[0])})")
    small = [name for name, picture in zip(names, pictures) if min(picture.size) < side]
    if small:
        found.append(f"{len(small)} are smaller than {side} px and made larger ({first_names(small)})")
    long = [name for name, picture in zip(names, pictures) if max(picture.size) > 2 * min(picture.size)]
    if long:
        found.append(f"{len(long)} lose more than half when they are cut to a square ({first_names(long)})")
    if len(pictures) < FEW:
        found.append(f"only {len(pictures)} pictures: the held-out ones are few, and the score leans on each of them")
    return found
