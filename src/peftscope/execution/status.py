"""Where a study stands, read from its folder alone: while another process runs it, and after that has died.

No torch, and no figures beside the scores: it has to answer at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from peftscope.analysis.tuning import Tuning
from peftscope.errors import SpecError
from peftscope.execution.eta import Eta, remaining
from peftscope.schema.elimination import Elimination
from peftscope.schema.live import RunState
from peftscope.schema.reader import why_unreadable
from peftscope.schema.record import FINISHED, NOT_FAILED, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.seeds import SeedPlan
from peftscope.schema.study import StudySpec
from peftscope.store.race import race_looks
from peftscope.store.run_states import read_states
from peftscope.store.study import read_stored_study
from peftscope.tuning.progress import StudyProgress

__all__ = [
    "LOST",
    "RUNNING",
    "WAITING",
    "FolderStatus",
    "RunStatus",
    "age_s",
    "is_locked",
    "is_under_way",
    "read_status",
]

RUNNING, LOST, WAITING = "running", "lost", "to do"


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """One run: what it left behind, and what it is at."""

    run_id: str
    title: str
    status: str
    """``running``, ``lost``, ``to do``, or the status of its record."""
    spec: RunSpec | None = None
    record: RunRecord | None = None
    """Without examples and curve."""
    state: RunState | None = None
    in_study: bool = True
    """False for what stays of a former form of the study."""

    @property
    def num_attempts(self) -> int:
        """Attempts made, the one under way among them."""
        made = self.record.num_starts if self.record else 0
        return made if self.state is None else max(made, self.state.num_attempts) + 1

    @property
    def failed(self) -> bool:
        """Worth looking at."""
        return self.comes_to_nothing and not self.was_stopped

    @property
    def comes_again(self) -> bool:
        """Whether the next ``compare`` does it again although it was begun."""
        return self.status == LOST or (self.comes_to_nothing and self.status not in FINISHED)

    @property
    def comes_to_nothing(self) -> bool:
        """Whether it has ended without a result."""
        return self.status not in (RUNNING, WAITING, *NOT_FAILED)

    @property
    def was_stopped(self) -> bool:
        """Whether it was ended because its study was: it is still to do."""
        if not self.comes_to_nothing or self.record is None or not self.record.attempts:
            return False
        return self.record.attempts[-1].ended_with_study


@dataclass(frozen=True, kw_only=True)
class FolderStatus:
    """A study's folder as it is now."""

    folder: Path
    name: str
    is_running: bool
    """Whether a process runs the study."""
    rows: Sequence[RunStatus]
    num_to_come: int = 0
    """Runs that will follow and are not known yet: their learning rates hang on what comes before."""
    eta: Eta | None = None
    tunings: Sequence[Tuning] = ()
    eliminations: Sequence[Elimination] = ()
    """Methods whose remaining runs will not be started, and are in no count."""
    notes: Sequence[str] = field(default=())
    """What could not be read."""

    @property
    def of_study(self) -> list[RunStatus]:
        return [row for row in self.rows if row.in_study]

    def number(self, status: str) -> int:
        """Runs of the study that stand so."""
        return sum(row.status == status for row in self.of_study)


def read_status(folder: Path) -> FolderStatus:
    """Read a study's folder; nothing in it is changed."""
    notes: list[str] = []
    is_running = is_under_way(folder)  # before the states: what ends in between is then seen as ended
    study = read_stored_study(folder, notes, then="runs still to do are not known")
    states = {state.run_id: state for state in read_states(folder)}
    grows = study is not None and isinstance(study.seeds, SeedPlan)  # scores tell where more seeds go
    records = _records(folder, notes, with_examples=grows)
    progress = _progress(folder, study, records, notes)
    wanted = {run.run_id: run for run in progress.runs} if progress else {}
    rows = []
    for run_id in dict.fromkeys([*wanted, *records, *states]):
        row = _row(run_id, wanted.get(run_id), records.get(run_id), states.get(run_id), is_running)
        rows.append(row if not wanted or run_id in wanted else _former(row))
    return FolderStatus(
        folder=folder,
        name=study.name if study else folder.resolve().name,
        is_running=is_running,
        rows=rows,
        num_to_come=max(0, progress.scheduler.num_runs - len(wanted)) if progress else 0,
        eta=_eta(rows, progress) if is_running else None,
        tunings=progress.tunings if progress else (),
        eliminations=progress.eliminations if progress else (),
        notes=notes,
    )


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock file; the lock is let go again at once, and no file is made."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # somebody else's folder: we may look and not touch
        return False
    lock.release()
    return False


def is_under_way(folder: Path) -> bool:
    """Whether a process runs the study of a folder."""
    return is_locked(folder / ".lock")


def age_s(state: RunState) -> float:
    """Seconds since a state was written."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(state.updated_at)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _progress(
    folder: Path, study: StudySpec | None, records: dict[str, RunRecord], notes: list[str]
) -> StudyProgress | None:
    from peftscope.tuning.progress import study_progress

    if study is None:
        return None
    try:
        return study_progress(study, records, race_looks(folder, notes))
    except SpecError as error:  # a method of another version
        notes.append(f"runs still to do are not known: {'; '.join(error.problems)}")
        return None


def _records(folder: Path, notes: list[str], *, with_examples: bool) -> dict[str, RunRecord]:
    """Records by id, without what makes them large; a trial's curve tells which rungs it reached."""
    found = {}
    for path in sorted((folder / "records").glob("[!.]*.json")):
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            record = RunRecord.model_validate(_slim(raw, with_examples=with_examples))
        except (OSError, ValueError) as error:
            notes.append(f"{path} cannot be read: {why_unreadable(error, RunRecord)}")
            continue
        found[record.run_id] = record
    return found


def _slim(raw: Any, *, with_examples: bool) -> Any:
    """A record's content without what makes it large; other content as it is, for validation to refuse."""
    if not isinstance(raw, dict):
        return raw
    curve = raw.get("curve", ())
    if isinstance(curve, list):
        curve = [point for point in curve if not isinstance(point, dict) or point.get("valid_loss") is not None]
    return {**raw, "examples": raw.get("examples", ()) if with_examples else (), "curve": curve, "foreign": None}


def _row(
    run_id: str, spec: RunSpec | None, record: RunRecord | None, state: RunState | None, is_running: bool
) -> RunStatus:
    if state is not None and record is not None and record.num_starts > state.num_attempts:
        state = None  # it has ended, and its state was not cleared away
    spec = spec or (record.spec if record else state.spec if state else None)
    title = spec.title if spec else state.title if state else run_id
    under_way = RUNNING if is_running else LOST
    status = under_way if state is not None else record.status if record else WAITING
    return RunStatus(run_id=run_id, title=title, status=status, spec=spec, record=record, state=state)


def _former(row: RunStatus) -> RunStatus:
    """A run the study does not ask for any more; one that is under way is of another command on the same folder."""
    return row if row.status == RUNNING else RunStatus(**{**vars(row), "in_study": False})


def _eta(rows: Sequence[RunStatus], progress: StudyProgress | None) -> Eta | None:
    under_way = [
        (row.spec, row.state.model_copy(update={"elapsed_s": row.state.elapsed_s + age_s(row.state)}))
        for row in rows
        if row.status == RUNNING and row.spec is not None and row.state is not None
    ]
    if progress is None and not under_way:  # nothing has started, and nobody knows yet what will
        return None
    running = {spec.run_id for spec, _ in under_way}
    return remaining(
        waiting=[start for start in progress.pending if start.run.run_id not in running] + progress.scheduler.upcoming()
        if progress
        else [],
        under_way=under_way,
        finished=[row.record for row in rows if row.record is not None],
        num_workers=max((state.num_workers for _, state in under_way), default=1),
    )
