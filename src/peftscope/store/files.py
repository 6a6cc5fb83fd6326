"""Records on disk: one JSON per run, written whole or not at all."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError

from peftscope.errors import StoreError
from peftscope.schema.reader import why_unreadable
from peftscope.schema.record import Attempt, RunRecord

__all__ = [
    "STORAGE_ERRORS",
    "add_attempt",
    "ensure_folder",
    "existing_record",
    "new_folder",
    "ordinary_mode",
    "read_record",
    "read_records",
    "record_path",
    "replacing",
    "sweep",
    "without_collector",
    "write_record",
    "write_text",
]

PART = ".tmp"
"""How the name of a file ends that is being written."""
STORAGE_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
}
"""By which a system says that a place cannot be written: it is full, closed, or no folder."""


def ensure_folder(folder: Path) -> Path:
    """Create a folder and prove that files can be written to it.

    Raises:
        StoreError: It cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-"):
            pass
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be written to ({error.strerror or error}); choose another folder"
        ) from error
    return folder


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary file beside ``path`` that takes its place when all went well, and is gone otherwise.

    Readers see the old content or the new, never a part.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        os.chmod(temporary, ordinary_mode())
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # what went wrong is told already; a later start sweeps
                temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a folder that becomes ``path`` when all went well, and is gone otherwise.

    Raises:
        StoreError: There is something at ``path``, the place is not writable or full, or a file cannot be read.
    """
    if path.exists():
        raise StoreError(f"{path}: is there already; nothing was written. Name another folder, or remove it")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART))
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        temporary.rename(path)
    except SafetensorError as error:
        raise StoreError(f"{path}: cannot be written ({error})") from error
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        where = Path(error.filename) if isinstance(error.filename, str) else None
        if where is not None and temporary is not None and not where.is_relative_to(temporary):
            raise StoreError(f"{where}: {error.strerror or error}") from error
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        StoreError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def ordinary_mode() -> int:
    """Permissions that a new file has by default."""
    return 0o666 & ~_umask()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def sweep(folders: Iterable[Path]) -> None:
    """Remove what processes left that were ended while they wrote; to be called when none writes there."""
    for folder in folders:
        for path in folder.glob(f".*{PART}"):
            with suppress(OSError):  # not ours to remove; nobody reads it
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def record_path(folder: Path, run_id: str) -> Path:
    """Where the record of a run lies in a study's folder."""
    return folder / "records" / f"{run_id}.json"


def write_record(folder: Path, record: RunRecord) -> Path:
    """Write a record; a record of the same run that is there already passes its attempts on.

    A trial's validation losses at rungs stay when a later attempt fails. Figures are never lost: a record that has some
    and is replaced stays under ``superseded``.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    path = record_path(folder, record.run_id)
    earlier = existing_record(folder, record.run_id)
    if earlier is not None:
        record = _keep_rungs(earlier, record)
        record = record.model_copy(update={"attempts": (*earlier.attempts, *record.attempts)})
        if earlier.status == "ok":
            old = folder / "superseded" / f"{record.run_id}.{len(earlier.attempts)}.json"
            ensure_folder(old.parent)
            write_text(old, _text_of(earlier))
    ensure_folder(path.parent)
    write_text(path, _text_of(record))
    return path


def _keep_rungs(earlier: RunRecord, record: RunRecord) -> RunRecord:
    """The later attempt's record, with validation losses at rungs from the earlier one if it failed before them."""
    if record.status == "ok" or not earlier.has_paused or set(earlier.rungs) <= set(record.rungs):
        return record
    if record.protocol is None:  # the attempt measured nothing
        return earlier.model_copy(update={name: getattr(record, name) for name in ("status", "reason", "attempts")})
    same = record.quality_protocol == earlier.quality_protocol
    return record.model_copy(update={"curve": earlier.curve}) if same else record


def add_attempt(folder: Path, record: RunRecord, attempt: Attempt) -> bool:
    """Add an attempt to a record, its figures as they are; for a repetition.

    To be called with the study held. Gives False, and writes nothing, where the folder's record is not the one given:
    it was read from elsewhere, or made again meanwhile.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    now = existing_record(folder, record.run_id)
    if now is None or now.metrics != record.metrics or now.status != record.status:
        return False
    longer = now.model_copy(update={"attempts": (*now.attempts, attempt)})
    write_text(record_path(folder, record.run_id), _text_of(longer))
    return True


def _text_of(record: RunRecord) -> str:
    return record.model_dump_json(indent=1, by_alias=True) + "\n"


def existing_record(folder: Path, run_id: str) -> RunRecord | None:
    """The record of a run that is there already; one that is damaged is set aside under another name.

    Raises:
        StoreError: It cannot be read at all, which says nothing of what is in it.
    """
    path = record_path(folder, run_id)
    if not path.exists():
        return None
    try:
        return read_record(path)
    except StoreError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        taken = len(list(path.parent.glob(f"{run_id}.unreadable*")))
        aside = path.with_suffix(f".unreadable{taken or ''}")
        try:
            path.replace(aside)
        except OSError as problem:
            raise StoreError(f"{path}: damaged, and cannot be set aside ({problem.strerror})") from error
        return None


def read_record(path: Path) -> RunRecord:
    """Read one record.

    Raises:
        StoreError: It is missing, not a record, or of another schema.
    """
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StoreError(f"{path}: not a readable record: {why_unreadable(error, RunRecord)}") from error


def read_records(folder: Path) -> list[RunRecord]:
    """All records of a study's folder, failures included, in the order of their ids."""
    with without_collector():
        return [read_record(path) for path in sorted((folder / "records").glob("[!.]*.json"))]


@contextmanager
def without_collector() -> Iterator[None]:
    """Records hold no cycles: looking for some after every few hundred objects takes longer than reading.

    What was read is handed to the oldest generation unseen, or the first look afterwards would cost it all at once.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if gc.get_freeze_count() == 0:  # else someone else's objects would be thawed
                gc.freeze()
                gc.unfreeze()
            gc.enable()
