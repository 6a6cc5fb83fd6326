"""Rows of texts in columns that fit a terminal's width."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text

from peftscope.views.line import shorten

__all__ = ["fitted"]

GAP = 2
LEAST_TITLE = 24
"""Cells that columns are given up for where the terminal has no room for a whole title, whatever is given up."""


def fitted(
    rows: Sequence[Mapping[str, str]],
    width: int,
    *,
    given_up: Sequence[str],
    right: Collection[str] = (),
    styles: Mapping[str, str] | None = None,
    headings: Mapping[str, str] | None = None,
) -> list[Text]:
    """One line per row, as wide as the terminal at most.

    Args:
        rows: Column name -> text, the same columns in all; the first one, the title, is cut where there is no room
            for it even without the columns that may be given up. Columns that are empty in all rows are left out.
        width: Of the terminal, in cells.
        given_up: Columns a narrow terminal does without, in this order.
        right: Columns that end at their right edge.
        styles: Column name -> rich style.
        headings: Column name -> heading; with them there is one more line, the first.
    """
    if not rows:
        return []
    title, *others = rows[0]
    names = [name for name in others if any(row[name] for row in rows)]
    lines = [headings, *rows] if headings else [*rows]
    widths = {name: max(cell_len(line.get(name, "")) for line in lines) for name in names}
    longest = max(cell_len(line.get(title, "")) for line in lines)

    def room() -> int:
        return width - sum(widths[name] + GAP for name in names)

    kept = sum(widths[name] + GAP for name in names if name not in given_up)
    wanted = longest if longest <= width - kept else min(longest, LEAST_TITLE)
    for name in given_up:
        if room() < wanted and name in names:
            names.remove(name)
    title_cells = max(1, min(longest, room()))
    shown = []
    for line in lines:
        name_text = shorten(line.get(title, ""), title_cells)
        text = Text(_padded(name_text, title_cells), style="dim" if line is headings else "")
        for name in names:
            text.append(" " * GAP)
            cell = _padded(line.get(name, ""), widths[name], right=name in right)
            text.append(cell, style=(styles or {}).get(name) if line is not headings else None)
        text.rstrip()
        text.truncate(width, overflow="crop")
        shown.append(text)
    return shown


def _padded(text: str, width: int, *, right: bool = False) -> str:
    space = " " * (width - cell_len(text))
    return space + text if right else text + space
