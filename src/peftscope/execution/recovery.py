"""Starts that left no record: each becomes an attempt, whoever notices."""

from __future__ import annotations

from pathlib import Path

from peftscope.errors import StoreError
from peftscope.schema.live import RunState
from peftscope.schema.record import STUDY_KILLED, Attempt, RunRecord, Status, timestamp
from peftscope.store.files import existing_record, record_path, sweep, write_record
from peftscope.store.run_states import ORPHAN_PATIENCE_S, clear_state, read_states, run_lock

__all__ = ["num_attempts", "record_lost_attempt", "recover"]

SWEPT = ("records", "running", "cache", "paused")
"""Folders in which a process that was ended while it wrote leaves a part of a file."""


def num_attempts(folder: Path, run_id: str) -> int:
    """Attempts on record; a child that has written its record has added one, however it ended after that."""
    record = existing_record(folder, run_id)
    return 0 if record is None else record.num_starts


def record_lost_attempt(
    folder: Path, state: RunState, *, status: Status, reason: str, trace: str | None = None
) -> None:
    """Write the record of a start that was lost, and forget its state.

    Raises:
        StoreError: The folder is not writable or the disk is full; the state stays, for a later start to find.
    """
    if state.spec is not None and num_attempts(folder, state.run_id) == state.num_attempts:
        attempt = Attempt(
            started_at=state.started_at,
            ended_at=timestamp(),
            status=status,
            reason=reason,
            traceback=trace,
            reached=state.reached,
        )
        described = f"{reason} ({state.reached})"
        record = RunRecord(run_id=state.run_id, spec=state.spec, status=status, reason=described, attempts=(attempt,))
        write_record(folder, record)
    clear_state(folder, state.run_id)


def recover(folder: Path) -> list[str]:
    """Turn every start a process has left behind into an attempt; gives the ids of these runs.

    To be called with the study's lock held. A run's own process may be alive for a moment longer than the one
    that started it: its lock is waited for.

    Raises:
        StoreError: The folder is not writable, or a process of an earlier start does not end.
    """
    lost = []
    states = read_states(folder)
    for state in states:
        _wait_for(folder, state)
    sweep(folder / name for name in SWEPT)
    for state in states:
        if num_attempts(folder, state.run_id) == state.num_attempts:
            lost.append(state.run_id)
        record_lost_attempt(folder, state, status="killed", reason=STUDY_KILLED)
    return lost


def _wait_for(folder: Path, state: RunState) -> None:
    try:
        with run_lock(folder, state.run_id):
            pass
    except TimeoutError:
        raise StoreError(
            f"{record_path(folder, state.run_id)}: process {state.pid} of an earlier start is still at it after "
            f"{ORPHAN_PATIENCE_S:.0f} s; end it, then try again"
        ) from None
