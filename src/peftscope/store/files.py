"""Records on disk: one JSON per run, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from peftscope.errors import StoreError
from peftscope.spec.record import RunRecord

__all__ = [
    "ensure_folder",
    "existing_record",
    "read_record",
    "read_records",
    "record_path",
    "replacing",
    "write_record",
    "write_text",
]


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
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        StoreError: The folder is not writable or the disk is full; nothing half-written stays.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def record_path(folder: Path, run_id: str) -> Path:
    """Where the record of a run lies in a study's folder."""
    return folder / "records" / f"{run_id}.json"


def write_record(folder: Path, record: RunRecord) -> Path:
    """Write a record; a record of the same run that is there already passes its attempts on.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    path = record_path(folder, record.run_id)
    earlier = existing_record(folder, record.run_id)
    if earlier is not None:
        record = record.model_copy(update={"attempts": (*earlier.attempts, *record.attempts)})
    ensure_folder(path.parent)
    write_text(path, record.model_dump_json(indent=1, by_alias=True) + "\n")
    return path


def existing_record(folder: Path, run_id: str) -> RunRecord | None:
    """The record of a run that is there already; one that cannot be read is set aside under another name."""
    path = record_path(folder, run_id)
    if not path.exists():
        return None
    try:
        return read_record(path)
    except StoreError:
        path.replace(path.with_suffix(".unreadable"))
        return None


def read_record(path: Path) -> RunRecord:
    """Read one record.

    Raises:
        StoreError: It is missing, not a record, or of another schema.
    """
    try:
        return RunRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise StoreError(f"{path}: not a readable record: {str(error).splitlines()[0]}") from error


def read_records(folder: Path) -> list[RunRecord]:
    """All records of a study's folder, failures included, in the order of their ids."""
    return [read_record(path) for path in sorted((folder / "records").glob("[!.]*.json"))]
