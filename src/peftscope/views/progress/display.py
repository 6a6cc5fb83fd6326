"""How a study gets on, for people: a live display on a terminal, lines in a log."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from peftscope.execution.events import Listener
from peftscope.schema.live import RunState
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import NOT_FAILED, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.tuning.job import Job
from peftscope.views.line import one_line, score_text, shorten, span_text
from peftscope.views.progress.lines import attempt_text, loss_text, run_lines, study_line, valid_text
from peftscope.views.progress.tally import Clock, Tally, eta_text, found_text

__all__ = ["LiveProgress", "LogProgress", "NotebookProgress", "progress_for"]

STOPPING = "stopping after the current step; Ctrl-C again stops at once"
LOG_PAUSE_S = 60.0
"""Time between two lines of a log on the same run."""
REASON_CELLS = 300
LINES_KEPT_FREE = 3
STOPPING_NOTEBOOK = "stopping after the current step; interrupt again to stop at once"
NOTEBOOK_LINES = 12
"""Runs that ended last, listed below those under way."""
NOTEBOOK_CELLS = 110
NOTEBOOK_PAUSE_S = 1.0


def progress_for(*, title: str, metric: MetricSpec | None = None) -> Listener:
    """The display for where this process writes: a notebook's cell, a terminal, or a log.

    It takes care of itself: nothing is shown before ``planned``, and ``closed`` clears a live display away.

    Args:
        title: Name of the study.
        metric: The task's metric, to name scores by.
    """
    console = Console(stderr=True)
    if console.is_jupyter:
        return NotebookProgress(title, metric=metric)
    # Not is_terminal: FORCE_COLOR makes that true of a log file, too.
    if sys.stderr.isatty() and not console.is_dumb_terminal:
        return LiveProgress(title, console=console, metric=metric)
    return LogProgress(title, console=Console(stderr=True, soft_wrap=True), metric=metric)


class LiveProgress(Tally):
    """A header and a line per run under way, at the bottom of the terminal; what has ended stands above.

    Args:
        title: Name of the study.
        console: Where to show it.
        metric: The task's metric.
        clock: Seconds.
    """

    def __init__(
        self, title: str, *, console: Console, metric: MetricSpec | None = None, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(clock=clock)
        self.title, self.console, self.metric = title, console, metric
        self._lock = threading.Lock()  # rich draws from a thread of its own
        # What is printed to stdout is the command's own and may be piped away; it must not end up on stderr.
        self._live = Live(
            self, console=console, refresh_per_second=2, transient=True, redirect_stdout=False, vertical_overflow="crop"
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        with self._lock:
            now = self.clock()
            states = sorted((entry.at(now) for entry in self.under_way.values()), key=lambda state: state.worker)
            header = study_line(self.title, self, width)
        room = max(1, console.height - LINES_KEPT_FREE)
        yield header
        yield from run_lines(states[:room], width, self.metric)
        if len(states) > room:
            yield Text(f"… and {len(states) - room} more", style="dim")

    def planned(self, runs: Sequence[RunSpec], found: Sequence[RunRecord], num_workers: int) -> None:
        with self._lock:
            super().planned(runs, found, num_workers)
        if line := found_text(found, self.num_runs):
            self._print(line)
        if self.num_over < self.num_runs:
            self._live.start()

    def upcoming(self, jobs: Sequence[Job], num_runs: int) -> None:
        with self._lock:
            super().upcoming(jobs, num_runs)

    def started(self, run: RunSpec, state: RunState) -> None:
        with self._lock:
            super().started(run, state)

    def moved(self, run: RunSpec, state: RunState) -> None:
        with self._lock:
            super().moved(run, state)
            line = self.first_step()
        if line:
            self._print(line)

    def ended(self, run: RunSpec, record: RunRecord) -> None:
        took_s = self.took_s(run)
        with self._lock:
            super().ended(run, record)
        failed = record.status not in NOT_FAILED
        self._print(_ended_line(self, run, record, took_s, self.metric), style="red" if failed else "")

    def stopping(self) -> None:
        with self._lock:
            super().stopping()
        self._print(STOPPING, style="yellow")

    def closed(self) -> None:
        self._live.stop()

    def _print(self, line: str, style: str = "") -> None:
        self.console.print(Text(line, style=style))


class LogProgress(Tally):
    """One line per start and end, and one a minute while a run is long; each with the time of day.

    Args:
        title: Name of the study.
        console: Where to write.
        metric: The task's metric.
        clock: Seconds.
    """

    def __init__(
        self, title: str, *, console: Console, metric: MetricSpec | None = None, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(clock=clock)
        self.title, self.console, self.metric = title, console, metric
        self._told: dict[str, float] = {}

    def planned(self, runs: Sequence[RunSpec], found: Sequence[RunRecord], num_workers: int) -> None:
        super().planned(runs, found, num_workers)
        number = f"{self.num_runs} run{'s' if self.num_runs != 1 else ''}"
        at_once = f", {num_workers} at a time" if num_workers > 1 else ""
        self._print(f"{one_line(self.title)}: {number}{at_once}, {datetime.now():%Y-%m-%d}")
        if line := found_text(found, self.num_runs):
            self._print(line)

    def started(self, run: RunSpec, state: RunState) -> None:
        super().started(run, state)
        self._told[run.run_id] = self.clock()
        self._print(f"{attempt_text(state)}: started")

    def moved(self, run: RunSpec, state: RunState) -> None:
        super().moved(run, state)
        if line := self.first_step():
            self._print(line)
        if self.clock() - self._told.setdefault(run.run_id, self.clock()) < LOG_PAUSE_S:
            return
        self._told[run.run_id] = self.clock()
        parts = [state.reached, loss_text(state), valid_text(state, self.metric), eta_text(self.eta())]
        self._print(f"{one_line(state.title)}: {', '.join(one_line(part) for part in parts if part)}")

    def ended(self, run: RunSpec, record: RunRecord) -> None:
        took_s = self.took_s(run)
        super().ended(run, record)
        line = _ended_line(self, run, record, took_s, self.metric)
        eta = eta_text(self.eta()) if self.num_over < self.num_runs else ""
        self._print(f"{line} · {eta}" if eta else line)

    def stopping(self) -> None:
        super().stopping()
        self._print(STOPPING)

    def _print(self, line: str) -> None:
        self.console.print(Text(f"{datetime.now():%H:%M:%S} {line}"), soft_wrap=True)


class NotebookProgress(Tally):
    """The study's line, the runs under way and those that ended last, in one output of a notebook's cell.

    Args:
        title: Name of the study.
        metric: The task's metric.
        clock: Seconds.
    """

    def __init__(self, title: str, *, metric: MetricSpec | None = None, clock: Clock = time.monotonic) -> None:
        super().__init__(clock=clock)
        self.title, self.metric = title, metric
        self._ended: deque[str] = deque(maxlen=NOTEBOOK_LINES)
        self._handle: Any = None
        self._shown = -math.inf

    def planned(self, runs: Sequence[RunSpec], found: Sequence[RunRecord], num_workers: int) -> None:
        super().planned(runs, found, num_workers)
        if line := found_text(found, self.num_runs):
            self._ended.append(line)
        self._show()

    def moved(self, run: RunSpec, state: RunState) -> None:
        super().moved(run, state)
        if line := self.first_step():
            self._ended.append(line)
        if self.clock() - self._shown > NOTEBOOK_PAUSE_S:
            self._show()

    def ended(self, run: RunSpec, record: RunRecord) -> None:
        took_s = self.took_s(run)
        super().ended(run, record)
        self._ended.append(_ended_line(self, run, record, took_s, self.metric))
        self._show()

    def stopping(self) -> None:
        super().stopping()
        self._ended.append(STOPPING_NOTEBOOK)
        self._show()

    def closed(self) -> None:
        self._show()

    def lines(self) -> list[str]:
        """What is shown now."""
        states = sorted((entry.at(self.clock()) for entry in self.under_way.values()), key=lambda state: state.worker)
        live = run_lines(states, NOTEBOOK_CELLS, self.metric) if states else []
        return [study_line(self.title, self, NOTEBOOK_CELLS).plain, *(line.plain for line in live), *self._ended]

    def _show(self) -> None:
        from IPython.display import HTML, display

        self._shown = self.clock()
        shown = HTML(f"<pre>{escape(chr(10).join(self.lines()))}</pre>")
        if self._handle is None:
            self._handle = display(shown, display_id=True)
        else:
            self._handle.update(shown)


def _ended_line(tally: Tally, run: RunSpec, record: RunRecord, took_s: float | None, metric: MetricSpec | None) -> str:
    took = "" if took_s is None else f" ({span_text(took_s)})"
    line = f"[{tally.num_over}/{tally.num_runs}] {one_line(run.title)}: {record.status}{took}"
    if record.status in NOT_FAILED:
        return " ".join([line, *_came_to(record, metric)])
    first = next((part for part in (record.reason or "").splitlines() if part.strip()), "")
    return f"{line} {shorten(one_line(first), REASON_CELLS)}".rstrip()


def _came_to(record: RunRecord, metric: MetricSpec | None) -> list[str]:
    """What a run that ended well came to; of a trial at a rung its loss there."""
    if record.status == "eliminated":
        losses = [point for point in record.curve if point.valid_loss is not None]
        max_steps = record.spec.train.max_steps
        return [f"at step {point.step} of {max_steps}, validation loss {point.valid_loss:.3f}" for point in losses[-1:]]
    trial = record.spec.purpose == "trial"
    score = record.metrics.get("valid_score" if trial else "test_score")
    return [] if score is None else [("validation " if trial else "") + score_text(score, metric)]
