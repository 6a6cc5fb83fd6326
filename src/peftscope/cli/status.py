"""``peftscope status``: where a study stands, while it runs and after."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from peftscope.cli import options
from peftscope.cli.live_lines import clock_text, progress_of
from peftscope.cli.output import print_json
from peftscope.cli.overview import LOST, RUNNING, WAITING, Overview, Row, age_s, overview
from peftscope.cli.place import study_folder
from peftscope.cli.tally import NOT_FAILED, eta_text
from peftscope.errors import SpecError
from peftscope.execution.eta import wall_time
from peftscope.views.columns import fitted
from peftscope.views.line import one_line, shorten, span_text, value_text

__all__ = ["status"]

WATCH_PAUSE_S = 1.0
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


def status(
    study: Annotated[Path, typer.Argument(help="A study.yaml, or the folder of its results.")],
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until the study has ended.")] = False,
    json_output: options.Json = False,
) -> None:
    """Show where a study stands: what is done, under way, failed and still to do, and when it ends."""
    if watch and json_output:
        raise SpecError("--watch, --json", ["--json prints one document; give one of them"])
    folder = study_folder(study, needs_records=False)
    found = _watched(folder) if watch else overview(folder)
    if json_output:
        print_json("status", _document(found))
    elif not watch:
        console = Console(highlight=False)
        console.print(_shown(found, console.width))
    if any(row.failed for row in found.of_study):
        raise typer.Exit(1)


def _watched(folder: Path) -> Overview:
    """Show the study until no process runs it, or the user has seen enough."""
    console = Console(highlight=False)
    found = overview(folder)
    with Live(_shown(found, console.width), console=console, auto_refresh=False, vertical_overflow="crop") as live:
        try:
            while found.is_running:
                time.sleep(WATCH_PAUSE_S)
                found = overview(folder)
                live.update(_shown(found, console.width, height=console.height), refresh=True)
        except KeyboardInterrupt:  # the study goes on; only the looking ends
            pass
        live.update(_shown(found, console.width), refresh=True)
    return found


def _shown(found: Overview, width: int, height: int | None = None) -> Group:
    """Counts, a line per run, and what is worth saying of some; of a long study in a window: what moves."""
    rows = found.of_study
    head = [*_head(found), Text("")]
    headings, *lines = _table(rows, width) or [Text("")]
    tail = [_failure_line(row) for row in rows if row.failed] + _tail(found)
    if height is not None and len(head) + 1 + len(lines) + len(tail) >= height:
        lines = [line for line, row in zip(lines, rows) if row.standing in (RUNNING, LOST)]
        lines = lines[: max(0, height - len(head) - 3)]
        tail = [Text("the rest has no room here; without --watch all is listed", style="dim")]
    return Group(*head, headings, *lines, *([Text(""), *tail] if tail else []))


def _table(rows: Sequence[Row], width: int) -> list[Text]:
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


def _head(found: Overview) -> list[Text]:
    parts = [f"{sum(row.standing in NOT_FAILED for row in found.of_study)} done"]
    failed = sum(row.failed and row.standing != LOST for row in found.of_study)
    counted = ((found.number(RUNNING), "running"), (failed, "failed"), (found.number(LOST), "lost"))
    parts += [f"{number} {word}" for number, word in counted if number]
    if waiting := found.number(WAITING) + found.num_to_come:
        parts.append(f"{waiting} to do")
    if eta := eta_text(found.eta):
        parts.append(eta)
    title = Text.assemble((f"{one_line(found.name)}: ", "bold"), " · ".join(parts))
    return [title, Text(_whereabouts(found), style="" if found.is_running else "dim")]


def _whereabouts(found: Overview) -> str:
    if found.is_running:
        return "a process runs it now" + ("" if found.number(RUNNING) else "; no run has started yet")
    if any(row.standing == WAITING or row.comes_again for row in found.of_study):
        return "no process runs it now; 'peftscope compare' goes on with it"
    return "no process runs it now"


def _cells(row: Row) -> dict[str, str]:
    state, record = row.state, row.record
    live = state if row.standing in (RUNNING, LOST) else None
    done, total = progress_of(live) if live else (0, 0)
    score = record.metrics.get("test_score") if record and not live else None
    seconds = live.elapsed_s if live else wall_time(record) if record else None
    return {
        "title": one_line(row.title),
        "status": one_line(live.stage) if live and row.standing == RUNNING else row.standing,
        "progress": f"{done}/{total}" if total else "",
        "loss": f"{live.loss:.3f}" if live and live.loss is not None else "",
        "score": "" if score is None else value_text(score, record.metric if record else None),
        "time": "" if seconds is None else clock_text(seconds),
        "attempts": str(row.num_attempts) if row.num_attempts else "",
    }


def _style(row: Row) -> str:
    if row.standing == LOST:
        return "yellow"
    return "red" if row.failed else {RUNNING: "cyan", WAITING: "dim"}.get(row.standing, "")


def _failure_line(row: Row) -> Text:
    if row.standing == LOST:
        reached = f" ({row.state.reached})" if row.state else ""
        return Text(one_line(f"{row.title}: lost{reached}; compare will do it again"), style="yellow")
    reason = next((line for line in ((row.record and row.record.reason) or "").splitlines() if line.strip()), "")
    again = "; compare will do it again" if row.comes_again else ""
    return Text(one_line(f"{row.title}: {row.standing}: {shorten(one_line(reason), REASON_CELLS)}{again}"), style="red")


def _tail(found: Overview) -> list[Text]:
    silent = [row for row in found.of_study if row.standing == RUNNING and row.state and age_s(row.state) > SILENCE_S]
    lines = [f"{one_line(row.title)}: no news for {span_text(age_s(row.state))}" for row in silent if row.state]
    if former := len(found.rows) - len(found.of_study):
        of = "1 record is of a run" if former == 1 else f"{former} records are of runs"
        lines.append(f"{of} that the study does not ask for any more")
    return [Text(line, style="yellow") for line in [*lines, *map(one_line, found.notes)]]


def _document(found: Overview) -> dict[str, Any]:
    return {
        "study": found.name,
        "folder": str(found.folder),
        "is_running": found.is_running,
        "eta_s": None if found.eta is None else round(found.eta.seconds, 1),
        "eta_at_least": None if found.eta is None else found.eta.at_least,
        "num_to_come": found.num_to_come,
        "runs": [_plain(row) for row in found.rows],
        "summary": _summary(found.of_study),
        "notes": list(found.notes),
    }


def _plain(row: Row) -> dict[str, Any]:
    spec, record, state = row.spec, row.record, row.state
    live = ("stage", "step", "max_steps", "step_time_s", "loss", "valid_score", "num_scored", "num_to_score")
    return {
        "run_id": row.run_id,
        "title": row.title,
        "method": spec.method.title if spec else None,
        "purpose": spec.purpose if spec else None,
        "learning_rate": spec.learning_rate if spec else None,
        "seed": spec.seed if spec else None,
        "status": row.standing,
        "reason": record.reason if record else None,
        "in_study": row.in_study,
        "score": record.metrics.get("test_score") if record else None,
        "time_s": state.elapsed_s if state else wall_time(record) if record else None,
        "num_attempts": row.num_attempts,
        "comes_again": row.comes_again,
        **{name: getattr(state, name) if state else None for name in live},
        "updated_at": state.updated_at if state else None,
    }


def _summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Per technique and learning rate, how its runs stand; intervals are the business of ``compare``."""
    groups: dict[tuple[str, float | None], list[Row]] = {}
    for row in rows:
        if row.spec is not None:
            groups.setdefault((row.spec.method.title, row.spec.learning_rate), []).append(row)
    return [
        {
            "method": method,
            "learning_rate": rate,
            "num_runs": len(group),
            "num_done": sum(row.standing in NOT_FAILED for row in group),
            "num_running": sum(row.standing == RUNNING for row in group),
            "num_failed": sum(row.failed and row.standing != LOST for row in group),
            "num_lost": sum(row.standing == LOST for row in group),
            "num_waiting": sum(row.standing == WAITING for row in group),
            "scores": [row.record.metrics.get("test_score") for row in group if row.standing == "ok" and row.record],
        }
        for (method, rate), group in groups.items()
    ]
