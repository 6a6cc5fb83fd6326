"""Where a study stands by its records."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from peftscope.analysis.tuning import Tuning
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import StudySpec
from peftscope.tuning.job import Start
from peftscope.tuning.scheduler import Agenda, TunedAgenda, agenda_of

__all__ = ["Standing", "came_so_far", "replay", "standing_of"]


def replay(agenda: Agenda, done: Callable[[Start], RunRecord | None]) -> tuple[dict[str, RunRecord], list[Start]]:
    """Tell an agenda of everything that is done already.

    Args:
        agenda: Told of records until nothing more follows.
        done: The record of a start that need not be made again; None where it has to be made.

    Returns:
        Records by run, and the starts that have to be made now.
    """
    found: dict[str, RunRecord] = {}
    pending: list[Start] = []
    while due := deque(agenda.due()):
        for start in due:
            record = done(start)
            if record is None:
                pending.append(start)
            else:
                found[record.run_id] = record
                agenda.tell(record)
    return found, pending


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A study as its records tell it."""

    agenda: Agenda
    runs: tuple[RunSpec, ...]
    """Runs that are known: those done, and those to be started now."""
    pending: tuple[Start, ...]
    """What is to be started now."""

    @property
    def tunings(self) -> list[Tuning]:
        """What tuning came to, a technique each; none in a study without."""
        return self.agenda.tunings() if isinstance(self.agenda, TunedAgenda) else []


def standing_of(study: StudySpec, records: Mapping[str, RunRecord]) -> Standing:
    """Where a study stands by its records; nothing is started or written.

    Args:
        study: The study.
        records: By the ids of their runs; curves are needed for trials that paused.

    Raises:
        SpecError: A method is not known.
    """
    metric = next((record.metric for record in records.values() if record.metric is not None), None)
    width = next((record.base_width for record in records.values() if record.base_width is not None), None)
    agenda = agenda_of(study, higher_is_better=metric is None or metric.direction != "lower", width=width)

    def done(start: Start) -> RunRecord | None:
        record = records.get(start.run.run_id)
        return record if record is not None and came_so_far(record, start) else None

    found, pending = replay(agenda, done)
    runs = {run_id: record.spec for run_id, record in found.items()}
    runs |= {start.run.run_id: start.run for start in pending}
    return Standing(agenda=agenda, runs=tuple(runs.values()), pending=tuple(pending))


def came_so_far(record: RunRecord, start: Start) -> bool:
    """Whether a run came as far as a start would bring it, well or not; what was killed did not."""
    if record.status == "eliminated" and start.until is not None:
        return any(point.step == start.until for point in record.curve)
    return record.status not in ("eliminated", "killed")
