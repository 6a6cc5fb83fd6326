"""Where a study stands, as an answer that shows itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console, ConsoleOptions, RenderableType

from peftscope.execution.eta import wall_time
from peftscope.execution.status import LOST, RUNNING, WAITING, FolderStatus, RunStatus, read_status
from peftscope.schema.record import NOT_FAILED
from peftscope.study.published import place_of
from peftscope.views.eliminated import eliminations_document
from peftscope.views.shown import Shown
from peftscope.views.status import status_lines

__all__ = ["StudyStatus", "status_of"]


@dataclass(frozen=True, kw_only=True, repr=False)
class StudyStatus(Shown):
    """What of a study is done, under way, failed and still to do, and when it ends."""

    read_status: FolderStatus
    height: int | None = None
    """Lines there are; of a long study what moves is shown then. None shows all."""

    schema: ClassVar[str] = "status"

    @property
    def is_running(self) -> bool:
        """Whether a process runs the study."""
        return self.read_status.is_running

    @property
    def has_failures(self) -> bool:
        """Whether a run of the study failed or was lost."""
        return any(row.failed for row in self.read_status.of_study)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield status_lines(self.read_status, options.max_width, self.height)

    def _content(self) -> Mapping[str, Any]:
        found = self.read_status
        return {
            "study": found.name,
            "folder": str(place_of(found.folder)),
            "is_running": found.is_running,
            "eta_s": None if found.eta is None else round(found.eta.seconds, 1),
            "eta_at_least": None if found.eta is None else found.eta.at_least,
            "num_to_come": found.num_to_come,
            "runs": [_plain(row) for row in found.rows],
            "summary": _summary(found.of_study),
            "eliminated": eliminations_document(found.eliminations),
            "notes": list(found.notes),
        }


def status_of(folder: Path, *, height: int | None = None) -> StudyStatus:
    """Read where the study in a folder stands; nothing in it is changed."""
    return StudyStatus(read_status=read_status(folder), height=height)


def _plain(row: RunStatus) -> dict[str, Any]:
    spec, record, state = row.spec, row.record, row.state
    live = ("stage", "step", "max_steps", "step_time_s", "loss", "valid_score", "num_scored", "num_to_score")
    return {
        "run_id": row.run_id,
        "title": row.title,
        "method": spec.method.title if spec else None,
        "purpose": spec.purpose if spec else None,
        "learning_rate": spec.learning_rate if spec else None,
        "seed": spec.seed if spec else None,
        "status": row.status,
        "reason": record.reason if record else None,
        "in_study": row.in_study,
        "score": record.metrics.get("test_score") if record else None,
        "time_s": state.elapsed_s if state else wall_time(record) if record else None,
        "num_attempts": row.num_attempts,
        "comes_again": row.comes_again,
        **{name: getattr(state, name) if state else None for name in live},
        "updated_at": state.updated_at if state else None,
    }


def _summary(rows: Sequence[RunStatus]) -> list[dict[str, Any]]:
    """Per method and learning rate, how its runs stand; intervals are the business of ``compare``."""
    groups: dict[tuple[str, float | None], list[RunStatus]] = {}
    for row in rows:
        if row.spec is not None:
            groups.setdefault((row.spec.method.title, row.spec.learning_rate), []).append(row)
    return [
        {
            "method": method,
            "learning_rate": rate,
            "num_runs": len(group),
            "num_done": sum(row.status in NOT_FAILED for row in group),
            "num_running": sum(row.status == RUNNING for row in group),
            "num_failed": sum(row.failed and row.status != LOST for row in group),
            "num_lost": sum(row.status == LOST for row in group),
            "num_waiting": sum(row.status == WAITING or row.was_stopped for row in group),
            "scores": [row.record.metrics.get("test_score") for row in group if row.status == "ok" and row.record],
        }
        for (method, rate), group in groups.items()
    ]
