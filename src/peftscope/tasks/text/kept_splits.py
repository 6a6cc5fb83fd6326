"""The splits of a language task on disk, so that a study reads and tokenises its data once.

Token ids lie in a safetensors file that is mapped into memory: nothing is read before a batch needs it, and
the runs of a study share its pages. Texts lie in JSON lines. Those of validation and test are read at once;
a training text is read alone, when somebody wants to see it. The hashes a fingerprint needs are kept beside
them, since to take them again all texts would have to be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import overload

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from peftscope.errors import StoreError
from peftscope.schema.base import content_hash
from peftscope.tasks.base import Split
from peftscope.tasks.text.examples import SPLITS, TextExample
from peftscope.tasks.text.tokens import Encoded

__all__ = ["Digests", "KeptSplits", "digests_of", "read_splits", "write_splits"]

ABOUT = "splits.json"
TOKENS = "tokens.safetensors"
_LINES = "lines"
"""Where each line of a split's texts begins, and the end of the last: N + 1."""


@dataclass(frozen=True, kw_only=True)
class Digests:
    """Hashes of what is in a split."""

    texts: str
    token_ids: str
    shown: str
    """Of ids and of what is shown besides."""


@dataclass(frozen=True, kw_only=True)
class KeptSplits:
    """Splits that are tokenised, and where they lie."""

    folder: Path
    settings: str
    """Hash of the options and limits they were made with."""
    notes: tuple[str, ...]
    examples: Mapping[Split, Sequence[TextExample]]
    encoded: Mapping[Split, Encoded]
    digests: Mapping[Split, Digests]


def digests_of(examples: Sequence[TextExample], encoded: Encoded) -> Digests:
    """Hashes of a split's texts, token ids and names."""
    return Digests(
        texts=content_hash([[e.prompt, e.target, e.solution] for e in examples]),
        token_ids=encoded.sha256(),
        shown=content_hash([[e.example_id, e.group, repr(e.extra)] for e in examples]),
    )


def write_splits(splits: KeptSplits) -> None:
    """Write splits into their folder.

    Raises:
        OSError: The disk is full or not writable.
        SafetensorError: The same, said by safetensors.
    """
    arrays: dict[str, np.ndarray] = {}
    for split in SPLITS:
        parts = {field.name: getattr(splits.encoded[split], field.name) for field in fields(Encoded)}
        parts[_LINES] = _write_texts(_texts_path(splits.folder, split), splits.examples[split])
        arrays.update((f"{split}.{name}", np.ascontiguousarray(array)) for name, array in parts.items())
    save_file(arrays, splits.folder / TOKENS)
    about = {
        "settings": splits.settings,
        "notes": splits.notes,
        "digests": {split: asdict(splits.digests[split]) for split in SPLITS},
    }
    (splits.folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")


def read_splits(folder: Path) -> KeptSplits | None:
    """The splits kept in a folder, token ids as views of mapped memory; None where none were kept.

    Raises:
        StoreError: They cannot be read.
    """
    if not (folder / ABOUT).exists():
        return None
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        arrays = _map_arrays(folder / TOKENS)
        train: Sequence[TextExample] = _Texts(_texts_path(folder, "train"), arrays[f"train.{_LINES}"])
        return KeptSplits(
            folder=folder,
            settings=about["settings"],
            notes=tuple(about["notes"]),
            examples={"train": train, "valid": _read_texts(folder, "valid"), "test": _read_texts(folder, "test")},
            encoded={s: Encoded(**{f.name: arrays[f"{s}.{f.name}"] for f in fields(Encoded)}) for s in SPLITS},
            digests={split: Digests(**about["digests"][split]) for split in SPLITS},
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StoreError(f"{folder}: kept data cannot be read ({error})") from error


class _Texts(Sequence[TextExample]):
    """Texts in a file of which only the lines asked for are read."""

    def __init__(self, path: Path, lines: np.ndarray) -> None:
        self._path, self._lines = path, lines

    def __len__(self) -> int:
        return len(self._lines) - 1

    @overload
    def __getitem__(self, index: int) -> TextExample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TextExample]: ...
    def __getitem__(self, index: int | slice) -> TextExample | Sequence[TextExample]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        at = range(len(self))[index]
        try:
            with self._path.open("rb") as file:
                file.seek(int(self._lines[at]))
                return _parse(file.readline())
        except (OSError, ValueError) as error:
            raise StoreError(f"{self._path}: kept texts cannot be read ({error})") from error


def _map_arrays(path: Path) -> dict[str, np.ndarray]:
    # For numpy, safetensors copies what it reads; its torch tensors are views of the mapped file.
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 (not a dict)


def _texts_path(folder: Path, split: Split) -> Path:
    return folder / f"{split}.jsonl"


def _write_texts(path: Path, examples: Iterable[TextExample]) -> np.ndarray:
    """Write one line per example.

    Returns:
        Where each line begins, and the end of the last: N + 1.
    """
    lengths = [0]
    with path.open("wb") as file:
        for e in examples:
            line = json.dumps([e.example_id, e.prompt, e.target, e.solution, e.group, e.extra]) + "\n"
            lengths.append(file.write(line.encode("ascii")))
    return np.cumsum(lengths, dtype=np.int64)


def _read_texts(folder: Path, split: Split) -> list[TextExample]:
    with _texts_path(folder, split).open("rb") as file:
        return [_parse(line) for line in file]


def _parse(line: bytes) -> TextExample:
    example_id, prompt, target, solution, group, extra = json.loads(line)
    return TextExample(example_id=example_id, prompt=prompt, target=target, solution=solution, group=group, extra=extra)
