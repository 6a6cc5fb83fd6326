"""Documents of runs: all of a folder as rows, and one as the page opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peftscope.execution.status import is_under_way
from peftscope.methods.catalog import BASE
from peftscope.schema.record import RunRecord
from peftscope.store.rows import RowReader, folder_state
from peftscope.study.metrics import benchmark_score, specs_for
from peftscope.study.run_details import details_of, repeat_command
from peftscope.views.report.details import details_data
from peftscope.views.report.runs import runs_data

__all__ = ["run_document", "runs_document", "state_of"]


def state_of(folder: Path) -> str:
    """A word that changes when records come, go or change, and when a process begins or ends to run the study."""
    return folder_state(folder) + (" under way" if is_under_way(folder) else "")


def runs_document(folder: Path, *, name: str, place: str, reader: RowReader | None = None) -> dict[str, Any]:
    """Every run of a folder with its figures and settings, read without judging them.

    Args:
        folder: Of the study.
        name: Of the study.
        place: Of the study, for commands.
        reader: One that has read the folder before reads what has changed.
    """
    reader = reader or RowReader(folder)
    state = state_of(folder)
    rows = reader.rows()
    specs = {spec.name: spec for spec in specs_for(row.task for row in rows)}
    benchmarks = {row.benchmark for row in rows}
    score = benchmark_score(benchmarks) if len(benchmarks) == 1 else None
    about = {"name": name, "place": place, "state": state}
    return runs_data(rows, specs, about=about, base=BASE, score=score, notes=reader.notes)


def run_document(
    record: RunRecord, folder: Path, place: Path, *, name: str | None = None, with_pictures: bool = True
) -> dict[str, Any]:
    """One run as the page opens it.

    Args:
        record: Of the run.
        folder: Of the study.
        place: Of the study, for commands.
        name: Of the candidate it is a run of, where that is not its title.
        with_pictures: Whether the pictures it left are in it.
    """
    details = details_of(record, folder)
    return details_data(
        details.record,
        name=name or record.spec.method.title,
        command=repeat_command(record, place),
        places=details.places,
        folder=folder if with_pictures else None,
    )
