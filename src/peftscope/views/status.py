"""Where a study stands, as a terminal shows it: counts, a line per run, what is worth saying of some."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from peftscope.execution.eta import wall_time
from peftscope.execution.status import LOST, RUNNING, WAITING, FolderStatus, RunStatus, age_s
from peftscope.schema.record import NOT_FAILED
from peftscope.views.eliminated import eliminated_lines
from peftscope.views.fit_width import fitted
from peftscope.views.line import one_line, shorten, span_text, value_text
from peftscope.views.progress.lines import clock_text, progress_of
from peftscope.views.progress.tally import eta_text

__all__ = ["status_lines"]

SILENCE_S = 60.0
"""After how long without news of a run that is said."""
REASON_CELLS = 300
HEADINGS = {
    "title": "run",
    "status": "status",
    "progress": "done",
    "loss": "loss",
    "score": "score",
    "time": "time",
    "attempts": "attempts",
}


def status_lines(found: FolderStatus, width: int, height: int | None = None) -> Group:
    """Counts, a line per run, and what is worth saying of some; of a long study in a window: what moves."""
    rows = found.of_study
    head = [*_head(found), Text("")]
    headings, *lines = _table(rows, width) or [Text("")]
    tail = [_failure_line(row) for row in rows if row.failed] + _tail(found)
    if height is not None and len(head) + 1 + len(lines) + len(tail) >= height:
        lines = [line for line, row in zip(lines, rows) if row.status in (RUNNING, LOST)]
        lines = lines[: max(0, height - len(head) - 3)]
        tail = [Text("the rest has no room here; without --watch all is listed", style="dim")]
    return Group(*head, headings, *lines, *([Text(""), *tail] if tail else []))


def _table(rows: Sequence[RunStatus], width: int) -> list[Text]:
    lines = fitted(
        [_cells(row) for row in rows],
        width,
        headings=HEADINGS,
        given_up=("attempts", "loss", "time", "progress"),
        right=("progress", "loss", "score", "time", "attempts"),
    )
    for line, row in zip(lines[1:], rows):
        line.stylize(_style(row))
    return lines


def _head(found: FolderStatus) -> list[Text]:
    parts = [f"{sum(row.status in NOT_FAILED for row in found.of_study)} done"]
    failed = sum(row.failed and row.status != LOST for row in found.of_study)
    counted = ((found.number(RUNNING), "running"), (failed, "failed"), (found.number(LOST), "lost"))
    parts += [f"{number} {word}" for number, word in counted if number]
    stopped = sum(row.was_stopped for row in found.of_study)
    if waiting := found.number(WAITING) + stopped + found.num_to_come:
        parts.append(f"{waiting} to do")
    if eta := eta_text(found.eta):
        parts.append(eta)
    title = Text.assemble((f"{one_line(found.name)}: ", "bold"), " · ".join(parts))
    return [title, Text(_whereabouts(found), style="" if found.is_running else "dim")]


def _whereabouts(found: FolderStatus) -> str:
    if found.is_running:
        return "a process runs it now" + ("" if found.number(RUNNING) else "; no run has started yet")
    if any(row.status == WAITING or row.comes_again for row in found.of_study):
        return "no process runs it now; 'peftscope compare' resumes it"
    return "no process runs it now"


def _cells(row: RunStatus) -> dict[str, str]:
    state, record = row.state, row.record
    live = state if row.status in (RUNNING, LOST) else None
    done, total = progress_of(live) if live else (0, 0)
    score = record.metrics.get("test_score") if record and not live else None
    seconds = live.elapsed_s if live else wall_time(record) if record else None
    return {
        "title": one_line(row.title),
        "status": one_line(live.stage) if live and row.status == RUNNING else row.status,
        "progress": f"{done}/{total}" if total else "",
        "loss": f"{live.loss:.3f}" if live and live.loss is not None else "",
        "score": "" if score is None else value_text(score, record.metric if record else None),
        "time": "" if seconds is None else clock_text(seconds),
        "attempts": str(row.num_attempts) if row.num_attempts else "",
    }


def _style(row: RunStatus) -> str:
    if row.status == LOST:
        return "yellow"
    return "red" if row.failed else {RUNNING: "cyan", WAITING: "dim"}.get(row.status, "")


def _failure_line(row: RunStatus) -> Text:
    if row.status == LOST:
        reached = f" ({row.state.reached})" if row.state else ""
        return Text(one_line(f"{row.title}: lost{reached}; compare will do it again"), style="yellow")
    reason = next((line for line in ((row.record and row.record.reason) or "").splitlines() if line.strip()), "")
    again = "; compare will do it again" if row.comes_again else ""
    return Text(one_line(f"{row.title}: {row.status}: {shorten(one_line(reason), REASON_CELLS)}{again}"), style="red")


def _tail(found: FolderStatus) -> list[Text]:
    silent = [row for row in found.of_study if row.status == RUNNING and row.state and age_s(row.state) > SILENCE_S]
    lines = [f"{one_line(row.title)}: no news for {span_text(age_s(row.state))}" for row in silent if row.state]
    lines += eliminated_lines(found.eliminations)
    if former := len(found.rows) - len(found.of_study):
        of = "1 record is of a run" if former == 1 else f"{former} records are of runs"
        lines.append(f"{of} that the study does not ask for any more")
    return [Text(line, style="yellow") for line in [*lines, *map(one_line, found.notes)]]
