"""Pictures that runs left, cut out of their sheets and set side by side: methods against prompts, best and worst."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peftscope.methods.catalog import BASE
from peftscope.schema.record import RunRecord

__all__ = ["PictureTable", "picture_tables"]

QUALITY = 88
"""Of the pictures on the page; the sheets lie in the study's folder as they were drawn."""
CHUNK = "peftscope"
"""Of a PNG's metadata: says where on a sheet each picture lies."""


@dataclass(frozen=True, kw_only=True)
class PictureTable:
    """Pictures in rows and columns."""

    title: str
    about: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """What a row is called, and its pictures as addresses that hold them; an empty one where there is none."""


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    prompts: tuple[str, ...]
    columns: tuple[str, ...]
    beside: int
    """Columns before those that were drawn."""
    tiles: Mapping[tuple[int, int], str]
    """By row and column."""


def picture_tables(records: Iterable[RunRecord], titles: Mapping[str, str], folder: Path) -> list[PictureTable]:
    """Tables of what the first seed of each method left; none where runs left nothing to look at.

    Args:
        records: Of a study.
        titles: Run id -> the method it is a run of, where that is not its title.
        folder: Of the study.
    """
    first: dict[str, RunRecord] = {}
    for record in sorted(records, key=lambda record: record.spec.seed):
        if record.artefacts and record.status == "ok":
            first.setdefault(titles.get(record.run_id, record.spec.method.title), record)
    sheets = {
        name: {title: sheet for title, record in first.items() if (sheet := _sheet(record, name, folder)) is not None}
        for name in ("samples", "test")
    }
    tables = [_by_prompt(sheets["samples"]), _ends(sheets["test"])]
    return [table for table in tables if table is not None]


def _by_prompt(sheets: Mapping[str, _Sheet]) -> PictureTable | None:
    """A row for each prompt, a column for the base and for each method, all from the same noise."""
    if not sheets:
        return None
    prompts = tuple(dict.fromkeys(prompt for sheet in sheets.values() for prompt in sheet.prompts))
    base = next((sheet for sheet in sheets.values() if sheet.beside), None)
    methods = [title for title in sheets if base is None or title != BASE]
    rows = []
    for prompt in prompts:
        shown = [] if base is None else [_of(base, prompt, 0)]
        rows.append((prompt, (*shown, *(_of(sheets[title], prompt, sheets[title].beside) for title in methods))))
    return PictureTable(
        title="The same prompt and noise",
        about="The base's picture, then each method's, from the first seed's run.",
        headings=(*(base.columns[:1] if base is not None else ()), *methods),
        rows=tuple(rows),
    )


def _ends(sheets: Mapping[str, _Sheet]) -> PictureTable | None:
    """A row for each method: its best test prompt and its worst, the real picture before the drawn one."""
    if not sheets:
        return None
    rows = []
    for title, sheet in sheets.items():
        last = len(sheet.prompts) - 1
        rows.append((title, tuple(sheet.tiles.get((row, column), "") for row in (0, last) for column in (0, 1))))
    return PictureTable(
        title="Best and worst of the test",
        about="By the score: a real picture, and what was drawn of its prompt.",
        headings=("best: real", "drawn", "worst: real", "drawn"),
        rows=tuple(rows),
    )


def _of(sheet: _Sheet, prompt: str, column: int) -> str:
    return sheet.tiles.get((sheet.prompts.index(prompt), column), "") if prompt in sheet.prompts else ""


def _sheet(record: RunRecord, name: str, folder: Path) -> _Sheet | None:
    """A sheet cut into its pictures; None where the file is gone, or is none of ours."""
    from PIL import Image  # matplotlib comes with it

    path = next((folder / artefact.path for artefact in record.artefacts if artefact.name == name), None)
    if path is None or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return None
    try:
        with Image.open(path) as picture:
            said = json.loads(getattr(picture, "text", {})[CHUNK])
            tiles = {(row, column): _address(picture, x, y, side) for row, column, x, y, side in said["tiles"]}
        texts = _texts(said["prompts"]), _texts(said["columns"])
        return _Sheet(prompts=texts[0], columns=texts[1], beside=int(said["beside"]), tiles=tiles)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _address(picture: Any, x: int, y: int, side: int) -> str:
    file = io.BytesIO()
    picture.crop((x, y, x + side, y + side)).convert("RGB").save(file, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
