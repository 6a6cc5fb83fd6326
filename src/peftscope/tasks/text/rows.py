"""Rows from the user's files and from data sets of the hub; every complaint names the file and the row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from peftscope.errors import DataError, unknown_name

__all__ = ["Table", "read_file", "read_hub"]

Row = dict[str, Any]

_SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True)
class Table:
    """Rows and where they come from."""

    source: str
    """Path or hub id, for messages."""
    label: str
    """A short name for ids."""
    rows: Sequence[Row]

    def text(self, index: int, column: str) -> str:
        """A cell as text.

        Raises:
            DataError: It is missing, empty, or neither text nor a number.
        """
        value = self.rows[index].get(column)
        if value is not None and not isinstance(value, str | int | float):
            raise DataError(
                f"{self.source}: row {index + 1}: column {column!r} holds a {type(value).__name__}, text is needed"
            )
        if value is None or not str(value).strip():
            raise DataError(f"{self.source}: row {index + 1}: column {column!r} is empty; fill it or take out the row")
        return str(value)

    def require(self, columns: Iterable[str]) -> None:
        """Check that columns are there.

        Raises:
            DataError: One is missing; names the file, the columns it has and the nearest match.
        """
        there = list(dict.fromkeys(name for row in self.rows[:100] for name in row))
        missing = [unknown_name("column", name, there) for name in columns if name not in there]
        if missing:
            raise DataError(f"{self.source}: {'; '.join(missing)}")


def read_file(path: str) -> Table:
    """Rows of a JSONL (or JSON list), CSV, TSV or Parquet file.

    Raises:
        DataError: It is missing, of another kind, unreadable or without rows.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        folder = file.parent
        names = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
        near = get_close_matches(file.name, names, n=1)
        hint = f"; did you mean {folder / near[0]}?" if near else ""
        raise DataError(f"{path}: no such file (looked for {file.absolute()}){hint}")
    if file.suffix.lower() not in _SUFFIXES:
        raise DataError(f"{path}: {file.suffix or 'no'} suffix; allowed: {', '.join(_SUFFIXES)}")
    try:
        rows = list(_rows_of(file))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not rows:
        raise DataError(f"{path}: no rows")
    return Table(source=path, label=file.stem, rows=rows)


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


def _rows_of(file: Path) -> Iterator[Row]:
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return _parquet_rows(file)
    if suffix in (".csv", ".tsv"):
        return _csv_rows(file, "\t" if suffix == ".tsv" else ",")
    return _json_list(file) if suffix == ".json" else _json_lines(file)


def _json_lines(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _as_row(_parse_json(line, f"{file}: line {number}"), f"{file}: line {number}")


def _json_list(file: Path) -> Iterator[Row]:
    value = _parse_json(file.read_text(encoding="utf-8-sig"), str(file))
    if not isinstance(value, list):
        raise DataError(f"{file}: a JSON list of rows is needed, got {type(value).__name__}")
    for number, row in enumerate(value, start=1):
        yield _as_row(row, f"{file}: row {number}")


def _csv_rows(file: Path, delimiter: str) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    names = ", ".join(reader.fieldnames or ())
                    raise DataError(f"{file}: line {reader.line_num}: not as many cells as columns ({names})")
                yield dict(row)
        except csv.Error as error:
            raise DataError(f"{file}: line {reader.line_num}: {error}") from None


def _parquet_rows(file: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[Row] = pyarrow.parquet.read_table(file).to_pylist()
    except pyarrow.ArrowException as error:
        raise DataError(f"{file}: not a readable Parquet file: {error}") from None
    yield from rows


def _parse_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}: not JSON: {error}") from None


def _as_row(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{where}: a row is an object with columns, got {type(value).__name__}")
    return value
