"""What shows itself: as text in a terminal, as HTML in a notebook, as a document for programs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from peftscope.views.documents import finite
from peftscope.views.line import printable

__all__ = ["Shown", "labelled", "stderr_console", "unbroken"]

WIDTH = 100
"""Columns of the text and of the HTML form."""
HTML = '<pre style="white-space:pre;overflow-x:auto;line-height:1.35">{code}</pre>'


class Shown:
    """A result that shows itself; ``print`` gives its text, a notebook its HTML, ``document()`` its data."""

    schema: ClassVar[str]
    """Name of the document: ``peftscope.<schema>/1``."""

    def document(self) -> dict[str, Any]:
        """The same as plain data: numbers in their units' base (bytes, seconds), None for what is missing."""
        document: dict[str, Any] = finite({"schema": f"peftscope.{self.schema}/1", **self._content()})
        return document

    def text(self, width: int = WIDTH) -> str:
        """The same as plain text."""
        console = Console(file=io.StringIO(), width=width, highlight=False, color_system=None, force_jupyter=False)
        console.print(self)
        assert isinstance(console.file, io.StringIO)
        return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()).strip("\n")

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        console = Console(file=io.StringIO(), width=WIDTH, highlight=False, record=True, force_jupyter=False)
        console.print(self)
        return console.export_html(inline_styles=True, code_format=HTML)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield from self._parts()

    def _parts(self) -> Iterator[RenderableType]:
        """What is shown, from the top down."""
        raise NotImplementedError

    def _content(self) -> Mapping[str, Any]:
        """The document without its schema."""
        raise NotImplementedError


def stderr_console(*, quiet: bool = False) -> Console:
    """Where notices and errors go: broken between words on a terminal, in whole lines into a log."""
    console = Console(stderr=True, quiet=quiet, highlight=False)
    console.soft_wrap = not console.is_terminal
    return console


def unbroken(*parts: str | tuple[str, str], style: str = "") -> Text:
    """A line that is never broken: whoever copies it gets it in one piece."""
    return Text.assemble(*parts, style=style, no_wrap=True, overflow="ignore")


def labelled(lines: Sequence[tuple[str, str]]) -> Padding:
    """Texts beside their labels, each in a column of its own; without a column of labels where none has one."""
    table = Table.grid(padding=(0, 2, 0, 0))
    has_labels = any(label for label, _ in lines)
    if has_labels:
        table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for label, text in lines:
        table.add_row(*([Text(printable(label))] if has_labels else []), Text(printable(text)))
    return Padding(table, (0, 0, 0, 2), expand=False)
