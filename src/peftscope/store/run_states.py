"""Runs under way, on disk: what another terminal sees, and what tells a later start that one was lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from peftscope.errors import StoreError
from peftscope.schema.live import RunState
from peftscope.store.files import ensure_folder, write_text

__all__ = [
    "ORPHAN_PATIENCE_S",
    "clear_state",
    "file_lock",
    "paused_folder",
    "read_states",
    "run_lock",
    "state_path",
    "write_state",
]

ORPHAN_PATIENCE_S = 60.0
"""How long to wait for an earlier process of the same run to end, which it does as soon as it sees it is alone."""


def state_path(folder: Path, run_id: str) -> Path:
    """Where the state of a run under way lies in a study's folder."""
    return folder / "running" / f"{run_id}.json"


def paused_folder(folder: Path) -> Path:
    """Where trainings that paused lie in a study's folder, until its search has ended."""
    return folder / "paused"


def write_state(folder: Path, state: RunState) -> None:
    """Write the state of a run.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    path = state_path(folder, state.run_id)
    ensure_folder(path.parent)
    write_text(path, state.model_dump_json(indent=1) + "\n")


def clear_state(folder: Path, run_id: str) -> None:
    """Forget a run that has left its record."""
    try:
        state_path(folder, run_id).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{state_path(folder, run_id)}: cannot be removed ({error.strerror or error})") from error


def read_states(folder: Path) -> list[RunState]:
    """States of all runs that have started and left no record yet; of a study that was ended hard, too."""
    states = []
    for path in sorted((folder / "running").glob("[!.]*.json")):
        try:
            states.append(RunState.model_validate_json(path.read_text(encoding="utf-8")))
        except (OSError, ValidationError):  # removed or damaged in between; a later start clears it away
            continue
    return states


@contextmanager
def file_lock(path: Path, *, timeout_s: float = -1) -> Iterator[None]:
    """Hold a file's lock, which the system gives back when the process ends, however it ends.

    Args:
        path: The lock file; it is made, and stays.
        timeout_s: How long to wait for another process; below 0 for ever.

    Raises:
        TimeoutError: Another process still holds it.
        StoreError: The folder is not writable.
    """
    ensure_folder(path.parent)
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=timeout_s, poll_interval=0.2)
        except FileNotFoundError:  # who held it has taken the folder away, with nothing in it
            ensure_folder(path.parent)
            lock.acquire(timeout=timeout_s, poll_interval=0.2)
    except Timeout as error:
        raise TimeoutError(str(path)) from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be locked ({error.strerror or error})") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def run_lock(folder: Path, run_id: str) -> Iterator[None]:
    """Hold a run's lock, as the process that does it has to for as long as it lives; waits for an earlier one.

    Raises:
        TimeoutError: The earlier process does not end.
        StoreError: The folder is not writable.
    """
    with file_lock(state_path(folder, run_id).with_suffix(".lock"), timeout_s=ORPHAN_PATIENCE_S):
        yield
