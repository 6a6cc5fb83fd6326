"""The splits of a language task on disk, so that a study reads and tokenises its data once.

One Arrow file per split, mapped into memory: nothing is read before a batch or an example needs it, and the runs
of a study share its pages. The hashes a fingerprint needs are kept beside them, since to take them again all texts
would have to be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from peftscope.errors import StoreError
from peftscope.schema.base import content_hash
from peftscope.tasks.base import Split
from peftscope.tasks.splits import seeded_split
from peftscope.tasks.text.examples import SPLITS, TextExample
from peftscope.tasks.text.groups import together_key
from peftscope.tasks.text.tokens import Encoded
from peftscope.tasks.text.turns import Turn

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CachedSplits", "Digests", "cut_anew", "digests_of", "read_splits", "write_splits"]

ABOUT = "splits.json"
_TEXTS = ("example_id", "prompt", "target", "solution", "group")
_JSON = ("turns", "extra")


@dataclass(frozen=True, kw_only=True)
class Digests:
    """Hashes of what is in a split."""

    texts: str
    token_ids: str
    shown: str
    """Of ids and of what is shown besides."""


@dataclass(frozen=True, kw_only=True)
class CachedSplits:
    """Splits that are tokenised, and where they lie."""

    folder: Path
    settings: str
    """Hash of the options and limits they were made with."""
    notes: tuple[str, ...]
    examples: Mapping[Split, Sequence[TextExample]]
    encoded: Mapping[Split, Encoded]
    digests: Mapping[Split, Digests]


def cut_anew(
    examples: Mapping[Split, Sequence[TextExample]], encoded: Mapping[Split, Encoded], seed: int
) -> tuple[dict[Split, Sequence[TextExample]], dict[Split, Encoded]]:
    """The splits with training and validation rows shuffled into splits of the same sizes; what belongs together
    stays together.
    """
    both = [*examples["train"], *examples["valid"]]
    tokens = encoded["train"].followed_by(encoded["valid"])
    (valid,), train = seeded_split([together_key(example) for example in both], [len(examples["valid"])], seed)
    cut: dict[Split, list[int]] = {"train": train, "valid": valid}
    return (
        {**examples, **{split: [both[i] for i in rows] for split, rows in cut.items()}},
        {**encoded, **{split: tokens.take(rows) for split, rows in cut.items()}},
    )


def digests_of(examples: Sequence[TextExample], encoded: Encoded) -> Digests:
    """Hashes of a split's texts, token ids and names."""
    return Digests(
        texts=content_hash([_text_of(e) for e in examples]),
        token_ids=encoded.sha256(),
        shown=content_hash([[e.example_id, e.group, repr(e.extra)] for e in examples]),
    )


def _text_of(example: TextExample) -> list[Any]:
    turns = [[turn.role, turn.content] for turn in example.turns]
    return [example.prompt, example.target, example.solution, *([turns] if turns else [])]


def write_splits(splits: CachedSplits) -> None:
    """Write splits into their folder.

    Raises:
        OSError: The disk is full or not writable.
    """
    import pyarrow as pa  # it starts threads, and the process runs are forked from may have none

    for split in SPLITS:
        table = _table(splits.examples[split], splits.encoded[split])
        with pa.OSFile(str(_path(splits.folder, split)), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    about = {
        "settings": splits.settings,
        "notes": splits.notes,
        "digests": {split: asdict(splits.digests[split]) for split in SPLITS},
    }
    (splits.folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")


def read_splits(folder: Path) -> CachedSplits | None:
    """The splits kept in a folder, texts and token ids as views of mapped memory; None where none were kept.

    Raises:
        StoreError: They cannot be read.
    """
    import pyarrow as pa

    if not (folder / ABOUT).exists():
        return None
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        tables = {split: pa.ipc.open_file(pa.memory_map(str(_path(folder, split)))).read_all() for split in SPLITS}
        return CachedSplits(
            folder=folder,
            settings=about["settings"],
            notes=tuple(about["notes"]),
            examples={split: _Texts(table.select([*_TEXTS, *_JSON])) for split, table in tables.items()},
            encoded={split: _encoded(table) for split, table in tables.items()},
            digests={split: Digests(**about["digests"][split]) for split in SPLITS},
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise StoreError(f"{folder}: kept data cannot be read ({error})") from error


class _Texts(Sequence[TextExample]):
    """Examples in a table of which only the rows asked for are read."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> TextExample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TextExample]: ...
    def __getitem__(self, index: int | slice) -> TextExample | Sequence[TextExample]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return next(iter(_Texts(self._table.slice(range(len(self))[index], 1))))

    def __iter__(self) -> Iterator[TextExample]:
        for batch in self._table.to_batches(max_chunksize=1000):
            for row in batch.to_pylist():
                turns = tuple(Turn(*turn) for turn in json.loads(row["turns"]))
                yield TextExample(**{**row, "turns": turns, "extra": json.loads(row["extra"])})


def _path(folder: Path, split: Split) -> Path:
    return folder / f"{split}.arrow"


def _table(examples: Sequence[TextExample], encoded: Encoded) -> pa.Table:
    """A row per example: its texts, its token ids and how many there were."""
    import pyarrow as pa

    texts = {name: [getattr(example, name) for example in examples] for name in _TEXTS}
    texts["turns"] = [json.dumps([(turn.role, turn.content) for turn in example.turns]) for example in examples]
    texts["extra"] = [json.dumps(example.extra) for example in examples]
    masks = {} if encoded.learned is None else {"learned": encoded.learned.view(np.uint8)}
    return pa.table(
        {
            **{name: pa.array(values, pa.large_string()) for name, values in texts.items()},
            "ids": pa.LargeListArray.from_arrays(encoded.offsets, encoded.ids),
            **{name: pa.LargeListArray.from_arrays(encoded.offsets, mask) for name, mask in masks.items()},
            "prompt_length": encoded.prompt_lengths,
            "full_length": encoded.full_lengths,
        }
    )


def _encoded(table: pa.Table) -> Encoded:
    """The table's token ids, without a copy: it was written in one piece."""
    from_dlpack = np.from_dlpack  # pyarrow's own ``to_numpy`` imports pandas, a third of a second in every run
    ids, prompt_lengths, full_lengths = (table[name].chunk(0) for name in ("ids", "prompt_length", "full_length"))
    learned = table["learned"].chunk(0).values if "learned" in table.column_names else None
    return Encoded(
        ids=from_dlpack(ids.values),
        offsets=from_dlpack(ids.offsets),
        prompt_lengths=from_dlpack(prompt_lengths),
        full_lengths=from_dlpack(full_lengths),
        learned=None if learned is None else from_dlpack(learned).view(bool),
    )
