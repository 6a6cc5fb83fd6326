"""Rows of a file, read by its content: JSON Lines, a JSON list or rows under a key, CSV, Parquet, Arrow.

What is guessed (an encoding, a delimiter, the key) is noted.
"""

from __future__ import annotations

import ast
import csv
import json
import sys
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, overload

from charset_normalizer import from_bytes

from peftscope.errors import DataError

__all__ = ["read_rows"]

Row = dict[str, Any]

PARQUET, ARROW, ZIP = b"PAR1", b"ARROW1", b"PK\x03\x04"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MOST_BLANK = 1000
"""Blank lines that may stand before a second object."""
SAMPLE_ROWS = 50
SAMPLE_BYTES = 1_000_000
WESTERN = "cp1252"
OTHER_PAGES = (
    "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874", "cp932", "gb18030", "big5",
    "cp949", "koi8_r",
)  # fmt: skip
"""Code pages that spreadsheets and older systems write."""
NEAR = 0.15
"""Difference of marks within which the commonest page is taken."""
FEW_ODD_BYTES = 40
"""Bytes outside ASCII below which an encoding cannot be guessed from how often they occur."""


def read_rows(file: Path) -> tuple[Sequence[Row], list[str]]:
    """Rows, and what was guessed in reading them.

    Raises:
        DataError: It is of no known kind, or a line cannot be read; names the line.
        OSError: The file cannot be read.
    """
    raw = file.read_bytes()
    if raw.startswith(PARQUET):
        return _arrow_rows(file, is_parquet=True), []
    if raw.startswith(ARROW):
        return _arrow_rows(file, is_parquet=False), []
    notes: list[str] = []
    text = _decoded(raw, file, notes)
    del raw  # of a large file it would be there twice
    start = text.lstrip()[:1]
    if start == "{":
        return _objects(text, file, notes), notes
    if start == "[":
        return [_as_row(row, f"{file}: row {n}") for n, row in enumerate(_parsed(text, str(file)), start=1)], notes
    return _csv_rows(text, file, notes), notes


def _decoded(raw: bytes, file: Path, notes: list[str]) -> str:
    if raw.startswith(ZIP):
        raise DataError(f"{file}: a zip archive, such as an Excel workbook; save its rows as CSV or Parquet")
    if raw.startswith(UTF_16):
        try:
            return raw.decode("utf-16")
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: not the UTF-16 text its first bytes promise: {error.reason}") from None
    if b"\0" in raw[:SAMPLE_BYTES]:
        raise DataError(f"{file}: no text; allowed are JSON, JSON Lines, CSV, TSV, Parquet and Arrow files")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        encoding = _guessed(raw)
        try:
            text = raw.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            raise DataError(
                f"{file}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
            ) from None
    notes.append(f"not UTF-8; read as {encoding}, which is a guess: save it as UTF-8 to be sure")
    return text


def _guessed(raw: bytes) -> str:
    """Windows' Western code page, or the one that the letters' frequencies clearly speak for where there are enough."""
    sample = raw[:SAMPLE_BYTES]
    if sum(byte > 127 for byte in sample) < FEW_ODD_BYTES:
        return WESTERN
    matches = list(from_bytes(sample, cp_isolation=[WESTERN, *OTHER_PAGES]))
    if not matches or sample.decode(WESTERN, "replace") == str(matches[0]):  # several pages write these letters alike
        return WESTERN
    best, western = matches[0], next((match for match in matches if match.encoding == WESTERN), None)
    near = western is not None and western.chaos <= best.chaos + NEAR and western.coherence >= best.coherence - NEAR
    return WESTERN if near else best.encoding


class _Rows(Sequence[Row]):
    """Rows that are made when they are asked for: a million of them as objects would take gigabytes."""

    @abstractmethod
    def row(self, index: int) -> Row:
        """The row at a place from 0."""

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        places = range(len(self))[index]
        return self.row(places) if isinstance(places, int) else [self.row(place) for place in places]

    def __iter__(self) -> Iterator[Row]:
        return map(self.row, range(len(self)))


class _JsonLines(_Rows):
    """Lines of objects, checked when they are read."""

    def __init__(self, text: str, file: Path) -> None:
        self._text, self._places = text, array("q")
        start = 0
        for number, line in enumerate(_lines(text), start=1):
            if line.strip():
                _as_row(_parsed(line, f"{file}: line {number}"), f"{file}: line {number}")
                self._places.extend((start, start + len(line)))
            start += len(line)

    def __len__(self) -> int:
        return len(self._places) // 2

    def row(self, index: int) -> Row:
        start, end = self._places[2 * index : 2 * index + 2]
        row: Row = json.loads(self._text[start:end])
        return row


class _Cells(_Rows):
    """Cells under a header."""

    def __init__(self, header: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        self._header, self._cells = header, cells

    def __len__(self) -> int:
        return len(self._cells)

    def row(self, index: int) -> Row:
        return dict(zip(self._header, self._cells[index]))


def _lines(text: str) -> Iterator[str]:
    """Lines with their ends, one at a time."""
    end = "\n" if "\n" in text else "\r"
    start = 0
    while start < len(text):
        stop = text.find(end, start) + 1 or len(text)
        yield text[start:stop]
        start = stop


def _objects(text: str, file: Path, notes: list[str]) -> Sequence[Row]:
    """Rows of a text that begins with an object: one a line, or one object with a list of rows in it."""
    lines = [(n, line) for n, line in zip(range(1, MOST_BLANK), _lines(text)) if line.strip()][:2]
    try:
        first = json.loads(lines[0][1], object_pairs_hook=_each_once)
    except _TwiceError as error:
        raise DataError(f"{file}: line {lines[0][0]}: {error}") from None
    except (ValueError, RecursionError):
        if len(lines) > 1 and lines[1][1].lstrip().startswith("{"):  # lines of objects, of which the first is broken
            _parsed(lines[0][1], f"{file}: line {lines[0][0]}")
        return _under_a_key(_parsed(text, str(file)), file, notes)
    return _under_a_key(first, file, notes) if len(lines) == 1 else _JsonLines(text, file)


def _under_a_key(whole: Row, file: Path, notes: list[str]) -> list[Row]:
    """The rows of one object: those of the list of objects in it, or the object itself."""
    lists = {key: value for key, value in whole.items() if _is_rows(value)}
    if len(lists) > 1:
        raise DataError(
            f"{file}: one object with {len(lists)} lists of rows in it ({', '.join(lists)}); keep one of them"
        )
    if not lists:
        return [whole]
    ((key, rows),) = lists.items()
    notes.append(f"one object; its rows are those under {key!r}")
    return list(rows)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _csv_rows(text: str, file: Path, notes: list[str]) -> Sequence[Row]:
    csv.field_size_limit(sys.maxsize)
    delimiter = "\t" if file.suffix.lower() == ".tsv" else _delimiter(text)
    if delimiter != "," and file.suffix.lower() != ".tsv":
        notes.append(f"cells are separated by a {DELIMITERS[delimiter]}")
    escaped = '\\"' in text and _fails(text, delimiter)
    if escaped:
        notes.append('quotes in cells are written as \\"')
    options: dict[str, Any] = {"escapechar": "\\", "doublequote": False} if escaped else {}
    reader = csv.reader(_lines(text), delimiter=delimiter, strict=True, **options)
    try:
        return _cells(reader, file)
    except csv.Error as error:
        raise DataError(f"{file}: line {reader.line_num}: {error}") from None


def _cells(reader: Any, file: Path) -> Sequence[Row]:
    header: list[str] | None = None
    rows: list[tuple[str, ...]] = []
    for cells in reader:
        if not cells:
            continue
        if header is None:
            header = _header(cells, file)
            continue
        if len(cells) == len(header) + 1 and not cells[-1].strip():  # a delimiter at the end of every line
            cells = cells[:-1]
        if len(cells) != len(header):
            names = ", ".join(header)
            raise DataError(
                f"{file}: line {reader.line_num}: {len(cells)} cells, {len(header)} columns ({names}); "
                "text with the delimiter in it goes in quotes"
            )
        rows.append(tuple(cells))
    return _Cells(header or [], rows)


def _header(cells: Sequence[str], file: Path) -> list[str]:
    names = [cell.strip() for cell in cells]
    if names and not names[-1]:
        names = names[:-1]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{file}: two columns are called {', '.join(map(repr, twice))}; give each a name of its own")
    return names


def _delimiter(text: str) -> str:
    """That which parts most of the first lines into the same number of cells, two at least; a comma where none does."""
    sample = "".join(islice(_lines(text), SAMPLE_ROWS * 4))
    best, most = ",", (0, 0)
    for delimiter in DELIMITERS:
        widths: list[int] = []
        reader = csv.reader(_lines(sample), delimiter=delimiter)
        with suppress(csv.Error):  # quotes do not part such cells: it is another delimiter, or the reading says why
            widths += [len(cells) for cells in islice(reader, SAMPLE_ROWS)]
        width = widths[0] if widths else 0
        found = (sum(each == width for each in widths) if width > 1 else 0, width)
        if found > most and (delimiter == "," or found[0] > most[0]):
            best, most = delimiter, found
    return best


def _fails(text: str, delimiter: str) -> bool:
    try:
        for _ in csv.reader(_lines(text), delimiter=delimiter, strict=True):
            pass
    except csv.Error:
        return True
    return False


def _arrow_rows(file: Path, *, is_parquet: bool) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        if is_parquet:
            return list(pyarrow.parquet.read_table(file).to_pylist())
        with pa.memory_map(str(file)) as source:
            return list(pa.ipc.open_file(source).read_all().to_pylist())
    except pa.ArrowException as error:
        kind = "Parquet" if is_parquet else "Arrow"
        raise DataError(f"{file}: not a readable {kind} file: {error}") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except _TwiceError as error:
        raise DataError(f"{where}: {error}") from None
    except RecursionError:
        raise DataError(f"{where}: not JSON that can be read: nested too deeply") from None
    except ValueError as error:
        hint = "; it is written as Python writes it, with single quotes: use json.dumps" if _is_python(text) else ""
        raise DataError(f"{where}: not JSON: {error}{hint}") from None


class _TwiceError(ValueError):
    """A name stands twice in an object."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which no value is lost: JSON readers keep the last of two under one name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = ", ".join(repr(name) for name in found if names.count(name) > 1)
        raise _TwiceError(f"two values are called {twice}; give each a name of its own")
    return found


def _is_python(text: str) -> bool:
    """Whether a text is what Python prints of a dict or list, which is no JSON."""
    if len(text) > SAMPLE_BYTES:
        return False
    try:
        return isinstance(ast.literal_eval(text.strip()), (dict, list))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _as_row(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{where}: a row is an object with columns, got {type(value).__name__}")
    return value
