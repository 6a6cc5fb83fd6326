"""Rows from the user's files and from data sets of the hub; every complaint names the source and the row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from peftscope.errors import DataError, unknown_name
from peftscope.tasks.text.paths import column_of, value_at
from peftscope.tasks.text.places import DATA_SUFFIXES, data_files
from peftscope.tasks.text.row_files import read_rows
from peftscope.tasks.text.turns import holds_turns

__all__ = ["Table", "listed_rows", "read_file", "read_hub"]

Row = dict[str, Any]
PLAIN = (str, int, float, Decimal, date, datetime, time)
"""What a cell may hold to be a text."""


@dataclass(frozen=True)
class Table:
    """Rows and where they come from."""

    source: str
    """Path or hub id, for messages."""
    label: str
    """A short name for ids."""
    rows: Sequence[Row]
    notes: tuple[str, ...] = ()
    """What was guessed or changed in reading them."""

    def text(self, index: int, column: str) -> str:
        """A cell as text.

        Raises:
            DataError: It is missing, empty, or neither text nor a number.
        """
        value = self.cell(index, column)
        if value is None:
            raise DataError(f"{self.where(index, column)} is empty; fill it or take out the row")
        return value

    def cell(self, index: int, column: str) -> str | None:
        """A cell as text; None where it is missing: blank, null, NaN, or not there at all.

        Raises:
            DataError: It is neither text nor a number.
        """
        value = value_at(self.rows[index], column)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if not isinstance(value, PLAIN):
            raise DataError(
                f"{self.where(index, column)} holds a {type(value).__name__}, text is needed{_advice(value, column)}"
            )
        return str(value) if str(value).strip() else None

    def where(self, index: int, column: str) -> str:
        """What messages call a cell."""
        return f"{self.source}: row {index + 1}: column {column!r}"

    def require(self, columns: Iterable[str]) -> None:
        """Check that columns are there.

        Raises:
            DataError: One is missing; names the file, the columns it has and the nearest match.
        """
        there = list(dict.fromkeys(name for row in self.rows[:100] for name in row))
        all_of = dict.fromkeys(there)
        missing = [unknown_name("column", name, there) for name in columns if column_of(all_of, name) is None]
        if missing:
            raise DataError(f"{self.source}: {'; '.join(missing)}")


def read_file(path: str) -> Table:
    """Rows of a JSON, JSON Lines, CSV, TSV, Parquet or Arrow file; what it is, its content says and not its name.

    Of a folder the rows of all its files, in the order of their names.

    Raises:
        DataError: It is missing, of another kind, unreadable or without rows.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        return _read_folder(path, file)
    if not file.is_file():
        folder = file.parent
        names = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
        near = get_close_matches(file.name, names, n=1)
        hint = f"; did you mean {folder / near[0]}?" if near else ""
        where = "" if file.is_absolute() else "; in a study, paths are relative to its file"
        raise DataError(f"{path}: no such file (looked for {file.absolute()}{where}){hint}")
    try:
        rows, notes = read_rows(file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not rows:
        raise DataError(f"{path}: no rows")
    return Table(source=path, label=file.stem, rows=rows, notes=tuple(f"{path}: {note}" for note in notes))


def _read_folder(path: str, folder: Path) -> Table:
    tables = [read_file(str(file)) for file in data_files(folder)]
    if not tables:
        raise DataError(f"{path}: a folder without a file of rows; allowed are {', '.join(DATA_SUFFIXES)}")
    rows = [row for table in tables for row in table.rows]
    notes = tuple(note for table in tables for note in table.notes)
    return Table(source=path, label=folder.resolve().name, rows=rows, notes=notes)


def read_hub(dataset: str, *, split: str, config: str | None = None, revision: str | None = None) -> Table:
    """Rows of a split of a hub data set, or of a local folder laid out like one.

    Raises:
        DataError: It cannot be found or loaded, or has no such configuration or split.
    """
    import datasets  # takes seconds to import, and files need none of it

    shown = dataset + (f" ({config})" if config else "") + f", split {split}"
    try:
        loaded = datasets.load_dataset(dataset, name=config, split=split, revision=revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        first_line = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(f"{shown}: cannot be loaded: {first_line}") from error
    if len(loaded) == 0:
        raise DataError(f"{shown}: no rows")
    return Table(source=shown, label=f"{dataset.rstrip('/').rsplit('/', 1)[-1]}-{split}", rows=loaded.to_list())


def _advice(value: Any, column: str) -> str:
    """How to name what is in a value that is no text."""
    if holds_turns(value):
        return f"; it is a conversation: set turns: {column}, without prompt and target"
    if isinstance(value, list) and value:
        return f"; name what is in it, such as '{column}[0]'"
    if isinstance(value, dict) and value:
        return f"; name what is in it, such as '{column}.{next(iter(value))}'"
    return ""


def listed_rows(indices: Sequence[int]) -> str:
    """Numbers of some rows, counted from 1.

    >>> listed_rows([3]), listed_rows([3, 5, 8, 9])
    ('row 4', 'rows 4, 6, 9, …')
    """
    numbers = ", ".join(str(index + 1) for index in indices[:3]) + (", …" if len(indices) > 3 else "")
    return f"row{'s' if len(indices) > 1 else ''} {numbers}"
