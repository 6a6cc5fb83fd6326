"""Grids of pictures for a person to look at: a row for each prompt, what it shows written above and in the file."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

__all__ = ["GridRow", "grid_png"]

LARGEST_TILE = 256
"""Pixels; larger pictures are made smaller."""
GAP, MARGIN, LINE = 4, 8, 16
INK, PAPER = (40, 40, 40), (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class GridRow:
    """Pictures of one prompt."""

    prompt: str
    pictures: Sequence[Tensor]
    """Each (H, W, 3) of 8 bits, in the order of the columns."""
    note: str = ""
    """What is said of the row beside its prompt, such as a score."""


def grid_png(rows: Sequence[GridRow], columns: Sequence[str], facts: dict[str, Any], *, beside: int = 0) -> bytes:
    """A PNG file with all rows under headings, and in its metadata what they are.

    The text chunk ``peftscope`` holds, as JSON, the facts, the prompts, the columns and where each tile lies, so that
    others can cut single pictures out.

    Args:
        rows: At least one, each with as many pictures as there are columns.
        columns: Headings.
        facts: What the pictures are of: run id, seeds.
        beside: Columns, from the left, that show something else than what was drawn: the base's pictures, real ones.
    """
    assert rows
    assert all(len(row.pictures) == len(columns) for row in rows)
    side = min(LARGEST_TILE, rows[0].pictures[0].shape[0])
    shown = max(side, LARGEST_TILE // 2)
    width = 2 * MARGIN + len(columns) * (shown + GAP) - GAP
    pitch = shown + LINE + GAP
    canvas = Image.new("RGB", (width, 2 * MARGIN + LINE + len(rows) * pitch), PAPER)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=11)
    for number, heading in enumerate(columns):
        pen.text((MARGIN + number * (shown + GAP), MARGIN), heading, fill=INK, font=font)
    tiles = []
    for at, row in enumerate(rows):
        top = MARGIN + LINE + at * pitch
        pen.text((MARGIN, top), _fitting(f"{row.prompt}  {row.note}".rstrip(), width - 2 * MARGIN, font), INK, font)
        for number, picture in enumerate(row.pictures):
            tile = Image.fromarray(np.asarray(picture)).resize((shown, shown), Image.Resampling.LANCZOS)
            place = (MARGIN + number * (shown + GAP), top + LINE)
            canvas.paste(tile, place)
            tiles.append([at, number, *place, shown])
    text = PngInfo()
    said = {
        **facts,
        "prompts": [row.prompt for row in rows],
        "columns": list(columns),
        "beside": beside,
        "tiles": tiles,
    }
    text.add_itxt("peftscope", json.dumps(said))
    file = io.BytesIO()
    canvas.save(file, "PNG", pnginfo=text, optimize=True)
    return file.getvalue()


def _fitting(text: str, width: int, font: Any) -> str:
    """As much of a text as there is room for."""
    while text and font.getlength(text) > width:
        text = text[:-2].rstrip() + "…"
    return text
