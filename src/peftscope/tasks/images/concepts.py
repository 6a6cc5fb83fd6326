"""The pictures of a concept with their prompts: from a folder, from captions beside the files, from a list.

A picture and its prompt are one thing here, with the file's name for an id: they cannot slip against each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peftscope.errors import DataError
from peftscope.tasks.images.pictures import PICTURE_SUFFIXES

__all__ = ["METADATA", "PromptedPicture", "first_names", "read_concept", "require_as_many"]

METADATA = "metadata.jsonl"
FILE_KEYS = ("file_name", "image", "path")
TEXT_KEYS = ("text", "prompt", "caption")


@dataclass(frozen=True, kw_only=True)
class PromptedPicture:
    """A picture's file and what is said of it."""

    picture_id: str
    """Name of the file in the folder."""
    path: Path
    prompt: str


def read_concept(
    folder: Path, *, prompt: str | None = None, prompts: Sequence[str] | None = None
) -> list[PromptedPicture]:
    """The pictures of a folder with their prompts, in the order of their names.

    Prompts are looked for in the arguments, in ``metadata.jsonl`` (``file_name`` and ``text``, as the imagefolder of
    ``datasets`` has it), and in a ``.txt`` file of the same name beside each picture.

    Args:
        folder: Holds the pictures.
        prompt: One for all.
        prompts: One for each picture, in the order of their names.

    Raises:
        DataError: There is no such folder or no picture in it, or a picture has no prompt, or a prompt no picture.
    """
    if prompt is not None and prompts is not None:
        raise DataError(f"{folder}: one prompt for all pictures, or a list of them; not both")
    files = _pictures(folder)
    if prompt is not None:
        texts: Mapping[str, str] = dict.fromkeys(files, prompt)
    elif prompts is not None:
        require_as_many(folder, len(files), prompts)
        texts = dict(zip(files, prompts))
    elif (folder / METADATA).is_file():
        texts = _from_metadata(folder / METADATA, files)
    else:
        texts = _from_captions(files)
    missing = [name for name in files if not texts.get(name, "").strip()]
    if missing:
        raise DataError(
            f"{folder}: {_some(missing)} without a prompt; give one for all, a list, a {METADATA}, or a .txt of the "
            "same name beside each picture"
        )
    return [PromptedPicture(picture_id=name, path=path, prompt=texts[name].strip()) for name, path in files.items()]


def _pictures(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder (looked for {folder.absolute()})")
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
    }
    if not files:
        raise DataError(f"{folder}: no picture in it; read are {', '.join(PICTURE_SUFFIXES)}")
    return files


def require_as_many(where: object, num_pictures: int, prompts: Sequence[str]) -> None:
    """Refuse a list of prompts that has not one for each picture.

    Raises:
        DataError: It has more or fewer.
    """
    if len(prompts) != num_pictures:
        raise DataError(f"{where}: {num_pictures} pictures and {len(prompts)} prompts; there must be one for each")


def first_names(names: Sequence[str]) -> str:
    """The first three of some names."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _from_metadata(path: Path, files: Mapping[str, Path]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for number, row in _rows(path):
        name, text = (_value(row, keys, f"{path}: line {number}") for keys in (FILE_KEYS, TEXT_KEYS))
        if name not in files:
            raise DataError(f"{path}: line {number}: no picture {name!r} beside it")
        if name in texts:
            raise DataError(f"{path}: line {number}: {name!r} stands in an earlier line, too")
        texts[name] = text
    return texts


def _rows(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    found: list[tuple[int, Mapping[str, Any]]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number}: not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number}: a mapping is wanted; given a {type(row).__name__}")
        found.append((number, row))
    return found


def _value(row: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    value = next((row[key] for key in keys if isinstance(row.get(key), str)), None)
    if value is None:
        raise DataError(f"{where}: no {' or '.join(keys)} in it; it has {', '.join(map(str, row)) or 'nothing'}")
    return str(value)


def _from_captions(files: Mapping[str, Path]) -> dict[str, str]:
    beside = {name: path.with_suffix(".txt") for name, path in files.items()}
    return {
        name: caption.read_text(encoding="utf-8", errors="replace")
        for name, caption in beside.items()
        if caption.is_file()
    }


def _some(names: Sequence[str]) -> str:
    return f"{len(names)} {'picture' if len(names) == 1 else 'pictures'} ({first_names(names)})"
