"""A table that fits its terminal: where its columns have no room side by side, they follow below, names repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from peftscope.views.line import one_line
from peftscope.views.table import TextTable

__all__ = ["FittedTable"]

LEAST_NAME = 32
"""Cells of a name that are never given up for the columns beside it, where there are as many."""
LEAST_SENTENCE = 30
"""Cells that a column of sentences needs beside others."""
PADDING = 4
"""Cells around a name and a figure beside it, at most."""
UNBOUNDED = 10_000


class FittedTable:
    """Names to the left, figures to the right, and no cell of them cut: what does not fit comes in a table below.

    A long name is broken into lines where that saves a table; sentences are broken between words.

    Args:
        table: Its first column is repeated in each of the tables that it is parted into.
        rule: Whether a line stands under the headings.
    """

    def __init__(self, table: TextTable, *, rule: bool = True) -> None:
        self.table, self.rule = table, rule
        self._headings = [one_line(heading) for heading in table.headings]
        self._cells = [[one_line(cell) for cell in row] for row in table.cells]
        self._sentences = {n for n, heading in enumerate(table.headings) if heading in table.sentences}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        wanted = self._natural(0)
        others = self._width(range(len(self._headings)), console, options) - wanted
        figures = [n for n in range(1, len(self._headings)) if n not in self._sentences]
        beside = max((self._natural(column) for column in figures), default=0) + PADDING
        least = max(1, min(LEAST_NAME, options.max_width - beside))
        name = min(wanted, max(least, options.max_width - others))
        for columns in self._parted(console, options, name):
            yield self._of(columns, name)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        whole = min(self._width(range(len(self._headings)), console, options), options.max_width)
        return Measurement(whole, whole)

    def _parted(self, console: Console, options: ConsoleOptions, name: int) -> list[list[int]]:
        """Columns of each table, by their numbers."""
        parts = [[0]]
        for column in range(1, len(self._headings)):
            wanted = self._width([*parts[-1], column], console, options, name)
            if column in self._sentences:
                wanted -= max(0, self._natural(column) - LEAST_SENTENCE)
            if wanted > options.max_width and len(parts[-1]) > 1:
                parts.append([0])
            parts[-1].append(column)
        return parts

    def _natural(self, column: int) -> int:
        """Cells of a column that is not broken."""
        return max(cell_len(row[column]) for row in [self._headings, *self._cells])

    def _width(self, columns: Sequence[int], console: Console, options: ConsoleOptions, name: int | None = None) -> int:
        unbounded = options.update(width=UNBOUNDED)
        return Measurement.get(console, unbounded, self._of(columns, name)).maximum

    def _of(self, columns: Sequence[int], name: int | None) -> Table:
        shown = Table(
            box=box.SIMPLE_HEAD if self.rule else None, header_style="bold", pad_edge=False, collapse_padding=True
        )
        for column in columns:
            is_text = column == 0 or column in self._sentences
            shown.add_column(
                Text(self._headings[column]),
                justify="left" if is_text else "right",
                no_wrap=not is_text,
                overflow="fold",
                width=name if column == 0 else None,
            )
        for row in self._cells:  # as texts: a label may hold what rich takes for markup
            shown.add_row(*(Text(row[column]) for column in columns))
        return shown
