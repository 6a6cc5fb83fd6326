"""What the user is shown while a study runs: notices, predictions, progress, and events for programs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from rich.console import RenderableType

from peftscope.execution.events import Listener
from peftscope.schema.metric import MetricSpec
from peftscope.views.progress.display import progress_for
from peftscope.views.progress.events import Events, OnEvent
from peftscope.views.shown import stderr_console

__all__ = ["Reporter"]


class Reporter:
    """Reports on stderr, or in a notebook's cell.

    Args:
        quiet: Show nothing.
        progress: Whether runs under way are shown; notices are, either way.
        on_event: Called with each event (``views.progress.events``).
    """

    def __init__(self, *, quiet: bool = False, progress: bool = True, on_event: OnEvent | None = None) -> None:
        self.quiet, self.progress, self.on_event = quiet, progress, on_event
        self.told: set[str] = set()
        """Notices that were shown, so that nothing is said twice."""
        self._console = stderr_console(quiet=quiet)

    def notice(self, lines: Iterable[str]) -> None:
        """Show what the user should know before or while runs are made."""
        for line in lines:
            self._console.print(line, style="yellow", markup=False)
            if not self.quiet:
                self.told.add(line)

    def show(self, *parts: RenderableType) -> None:
        """Show a heading, a table."""
        for part in parts:
            self._console.print(part)

    def status(self, text: str) -> AbstractContextManager[object]:
        """Show what takes a while, as long as it is entered."""
        return self._console.status(text)

    def listeners(self, title: str, metric: MetricSpec) -> list[Listener]:
        """Those to be told how the runs get on."""
        listeners: list[Listener] = []
        if self.progress and not self.quiet:
            listeners.append(progress_for(title=title, metric=metric))
        if self.on_event is not None:
            listeners.append(Events(title, self.on_event))
        return listeners
