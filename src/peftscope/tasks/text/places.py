"""Where the splits of some data lie: one file, a folder of files named after splits, a data set of the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from peftscope.errors import DataError

__all__ = ["DATA_SUFFIXES", "Places", "data_files", "find_places", "named_files"]

DATA_SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow")
SPLIT_NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "eval", "evaluation", "heldout", "held_out"),
}
LONGEST_PATH = 4096
NAMING_FILES = ("train", "valid", "test", "dataset", "train_dataset", "eval_dataset", "chat_template", "general_text")
"""Options that may name a file or a folder."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Files, or splits of a data set."""

    name: str
    """A word for the study."""
    train: str
    valid: str | None = None
    test: str | None = None
    dataset: str | None = None
    """Hub id or folder of a data set; None for files."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Options of the task that name them."""
        named = {"dataset": self.dataset, "train": self.train, "valid": self.valid, "test": self.test}
        return {key: value for key, value in named.items() if value is not None}


def find_places(data: str) -> Places:
    """Where the splits lie.

    Raises:
        DataError: There is nothing there, or a folder whose files tell no training rows.
    """
    path = Path(data).expanduser()
    if path.is_file():
        return Places(name=_word(path.stem), train=data)
    if path.is_dir():
        return _in_folder(path)
    if HUB_ID.fullmatch(data) and path.suffix.lower() not in DATA_SUFFIXES:
        return _on_hub(data)
    raise DataError(f"{data}: no such file or folder (looked for {path.absolute()}), and no id of a data set")


def named_files(options: BaseModel) -> list[Path]:
    """Files and folders that options name and that are there, as absolute paths."""
    values = [getattr(options, name, None) for name in NAMING_FILES]
    named = [os.path.expanduser(value) for value in values if isinstance(value, str) and 0 < len(value) < LONGEST_PATH]
    return [Path(path).absolute() for path in named if os.path.exists(path)]


def data_files(folder: Path) -> list[Path]:
    """The files of a folder that can hold rows, in order."""
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in DATA_SUFFIXES)


def _in_folder(folder: Path) -> Places:
    files = data_files(folder)
    if not files:
        raise DataError(f"{folder}: no file with rows in it; allowed are {', '.join(DATA_SUFFIXES)}")
    found: dict[str, list[Path]] = {split: [] for split in SPLIT_NAMES}
    for file in files:
        words = re.split(r"[^a-z]+", file.stem.lower())
        split = next((s for s, names in SPLIT_NAMES.items() if any(name in words for name in names)), None)
        if split is not None:
            found[split].append(file)
    several = {split: named for split, named in found.items() if len(named) > 1}
    if several:
        split, named = next(iter(several.items()))
        raise DataError(
            f"{folder}: several files of {split} rows ({', '.join(f.name for f in named)}); give one of them"
        )
    if found["train"]:
        chosen = {split: str(named[0]) for split, named in found.items() if named}
        return Places(name=_word(folder.resolve().name), **chosen)
    if any(found.values()):
        raise DataError(f"{folder}: none of {', '.join(f.name for f in files)} is called train; give the file itself")
    return Places(name=_word(folder.resolve().name), train=str(files[0] if len(files) == 1 else folder))


def _on_hub(dataset: str) -> Places:
    import datasets  # takes seconds to import

    try:
        splits = datasets.get_dataset_split_names(dataset)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        first_line = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(f"{dataset}: neither a file here nor a data set that can be had: {first_line}") from error
    chosen = {s: next((n for n in splits if n in names), None) for s, names in SPLIT_NAMES.items()}
    train = chosen.pop("train") or splits[0]
    return Places(
        name=_word(dataset.rpartition("/")[2]),
        dataset=dataset,
        train=train,
        **{split: name for split, name in chosen.items() if name != train},
    )


def _word(text: str) -> str:
    """A name for a study: letters, digits, hyphens.

    >>> _word("Support tickets (2024)")
    'support-tickets-2024'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "study"
