"""The pictures of a concept, in their splits: drawn by a program, from a folder, from a data set of the hub."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from peftscope.errors import DataError
from peftscope.tasks.base import Split
from peftscope.tasks.images.concepts import read_concept, require_as_many
from peftscope.tasks.images.drawing.character import CLASS_WORD, NAME, draw_character
from peftscope.tasks.images.drawing.scenes import ATTRIBUTES, Scene
from peftscope.tasks.images.options import DRAWN, ConceptOptions
from peftscope.tasks.images.pictures import fitted_square, read_picture

__all__ = ["ConceptPicture", "class_prompts", "drift_prompts", "read_pictures"]

DRAWN_SIZES: dict[Split, int] = {"train": 8, "valid": 6, "test": 24}
UNRELATED = (
    "a bicycle leaning on a wall",
    "a bowl of fruit on a table",
    "a lighthouse in a storm",
    "a man reading a newspaper on a train",
    "a city street in the rain at night",
    "an old map of the world",
    "a horse galloping over a field",
    "a watercolour of a mountain lake",
)
"""Prompts for models of photographs, where the user names none."""


@dataclass(frozen=True, kw_only=True)
class ConceptPicture:
    """A picture and what is said of it: one thing, so that they cannot slip against each other."""

    picture_id: str
    prompt: str
    picture: Image.Image
    """In RGB, of the size it is trained at."""


def read_pictures(options: ConceptOptions) -> dict[Split, list[ConceptPicture]]:
    """All pictures, in their splits.

    Raises:
        DataError: A picture cannot be read, prompts do not fit the pictures, or there are too few for the splits.
    """
    found = _drawn(options) if options.source == DRAWN else _given(options)
    names = [picture.picture_id for picture in found]
    assert len(set(names)) == len(names), "two pictures of one name"
    return _split(found, options)


def class_prompts(options: ConceptOptions) -> tuple[str, ...]:
    """Prompts of the class without the concept; empty where the user of a folder names none."""
    if options.class_prompts is not None:
        return options.class_prompts
    if options.source != DRAWN:
        return ()
    return tuple(_scene(CLASS_WORD, step).caption() for step in range(len(ATTRIBUTES["background"])))


def drift_prompts(options: ConceptOptions) -> tuple[str, ...]:
    """Prompts that have nothing to do with the concept."""
    if options.drift_prompts is not None:
        return options.drift_prompts
    if options.source != DRAWN:
        return UNRELATED
    things = [thing for thing in ATTRIBUTES["object"] if thing != CLASS_WORD]
    return tuple(_scene(thing, step).caption() for step, thing in enumerate(things))


def _scene(thing: str, step: int) -> Scene:
    """A thing in the next colour, at the next place, before the next background."""
    words = {name: ATTRIBUTES[name][step % len(ATTRIBUTES[name])] for name in ("colour", "background", "place")}
    return Scene(object=thing, **words)


def _drawn(options: ConceptOptions) -> list[ConceptPicture]:
    contexts = list(product(ATTRIBUTES["background"], ATTRIBUTES["place"]))
    Random(0).shuffle(contexts)
    pictures = []
    for number, (background, place) in enumerate(contexts):
        drawn = draw_character(background, place, options.side, Random(f"{NAME}:{number}"))
        pictures.append(
            ConceptPicture(
                picture_id=f"{NAME}-{number:02d}", prompt=f"a {NAME} {CLASS_WORD} {place}, {background}", picture=drawn
            )
        )
    return pictures


def _given(options: ConceptOptions) -> list[ConceptPicture]:
    folder = Path(options.source).expanduser()
    if not folder.exists() and _looks_like_hub_id(options.source):
        return _from_hub(options)
    found = read_concept(folder, prompt=options.prompt, prompts=options.prompts)
    return [
        ConceptPicture(
            picture_id=each.picture_id,
            prompt=each.prompt,
            picture=fitted_square(read_picture(each.path), options.side),
        )
        for each in found
    ]


def _looks_like_hub_id(source: str) -> bool:
    return source.count("/") == 1 and not source.startswith((".", "/", "~"))


def _from_hub(options: ConceptOptions) -> list[ConceptPicture]:
    from datasets import Image as ImageColumn
    from datasets import load_dataset

    try:
        rows = load_dataset(options.source, split=options.split)
        columns = rows.column_names
        if options.image_column not in columns:
            raise DataError(f"{options.source}: no column {options.image_column!r}; it has {', '.join(columns)}")
        rows = rows.cast_column(options.image_column, ImageColumn(decode=False))
    except (OSError, ValueError, ConnectionError) as error:
        raise DataError(f"{options.source}: neither a folder here nor a data set of the hub: {error}") from error
    prompts = _prompts_of(options, columns, rows)
    pictures = []
    for number, (row, prompt) in enumerate(zip(rows, prompts)):
        value = row[options.image_column]
        if value is None:
            raise DataError(f"{options.source}, row {number}: no picture")
        content = io.BytesIO(value["bytes"]) if value.get("bytes") is not None else Path(value["path"])
        picture = read_picture(content, name=f"{options.source}, row {number}")
        pictures.append(
            ConceptPicture(picture_id=f"row-{number:04d}", prompt=prompt, picture=fitted_square(picture, options.side))
        )
    return pictures


def _prompts_of(options: ConceptOptions, columns: Sequence[str], rows: object) -> list[str]:
    count = len(rows)  # type: ignore[arg-type]
    if options.prompt is not None:
        return [options.prompt] * count
    if options.prompts is not None:
        require_as_many(options.source, count, options.prompts)
        return list(options.prompts)
    if options.text_column not in columns:
        raise DataError(
            f"{options.source}: no prompts: give prompt or prompts, or the text_column it has ({', '.join(columns)})"
        )
    texts = [str(text or "").strip() for text in rows[options.text_column]]  # type: ignore[index]
    empty = [number for number, text in enumerate(texts) if not text]
    if empty:
        raise DataError(f"{options.source}: {len(empty)} rows without a prompt (the first is row {empty[0]})")
    return texts


def _split(found: Sequence[ConceptPicture], options: ConceptOptions) -> dict[Split, list[ConceptPicture]]:
    """Training pictures, then those for validation, then the test's, in the order the public benchmark draws."""
    drawn = options.source == DRAWN
    valid = options.valid_size or (DRAWN_SIZES["valid"] if drawn else min(2, max(1, len(found) // 3)))
    test = options.test_size or (DRAWN_SIZES["test"] if drawn else max(1, len(found) // 3))
    train = options.train_size or (DRAWN_SIZES["train"] if drawn else max(1, len(found) - valid - test))
    if train + valid + test > len(found):
        raise DataError(
            f"{options.source}: {len(found)} pictures, and {train} to train on, {valid} for validation and {test} for "
            "the test are wanted; give more pictures, or smaller train_size, valid_size and test_size"
        )
    order = [found[at] for at in np.random.RandomState(options.split_seed).permutation(len(found))]
    parts = {
        "train": order[:train],
        "valid": order[train : train + valid],
        "test": order[train + valid : train + valid + test],
    }
    splits: tuple[Split, ...] = ("train", "valid", "test")
    _refuse_shared(parts, options.source)
    return {split: sorted(parts[split], key=lambda each: each.picture_id) for split in splits}


def _refuse_shared(parts: Mapping[str, Sequence[ConceptPicture]], source: str) -> None:
    """Refuse pictures that stand in two splits: their score would measure memory.

    Raises:
        DataError: There are some.
    """
    seen: dict[bytes, tuple[str, str]] = {}
    for split, pictures in parts.items():
        for each in pictures:
            before, name = seen.setdefault(each.picture.tobytes(), (split, each.picture_id))
            if before != split:
                raise DataError(
                    f"{source}: {each.picture_id} in {split} is the same picture as {name} in {before}; take one out"
                )
