"""Tasks on disk: made once per study by one process, loaded by its runs.

A folder is named by the hash of what decides its content, built whole or not at all, and holds a manifest of
its files. Whoever keeps a task again (every ``compare`` does) checks them by hash and mends what is damaged; a
run checks sizes alone, which costs nothing, and makes the task anew where it cannot load it: slower, not lost.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

from filelock import FileLock

from peftscope.errors import DataError, StoreError
from peftscope.models.cache import build_once
from peftscope.models.weights import file_sha256
from peftscope.schema.base import content_hash
from peftscope.store.files import ensure_folder
from peftscope.tasks.base import Retention, Task, TaskContext

__all__ = ["cache_task", "load_task"]

MANIFEST = "manifest.json"
FORMAT = 3
"""Raised whenever what is written for the same task changes its form."""


def cache_task(task: Task, cache: Path) -> Path:
    """Write a task, and its measure of retention, into a folder of the cache unless it is there and whole.

    Raises:
        StoreError: The cache cannot be written to.
        DataError: The data retention is measured on cannot be read.
    """
    retention = task.retention()
    folder = cache / _name(task, retention)
    ensure_folder(cache)
    try:
        # The check and the mending need a lock of their own: between them nobody else may build.
        with FileLock(cache / f".{folder.name}.check.lock"):
            if folder.exists() and _damage(folder, by_hash=True):
                shutil.rmtree(folder)
            return build_once(folder, lambda place: _build(task, retention, place))
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{folder}: the study's data cannot be cached ({error}); free some space there") from error


def load_task(task_class: type[Task], options: Any, context: TaskContext, folder: Path) -> Task:
    """The task a folder keeps; made anew, with a warning, where it is damaged.

    Raises:
        DataError: It had to be made anew and its data are no longer those that were cached.
    """
    damage = _damage(folder, by_hash=False)
    if damage is None:
        try:
            return task_class.from_cache(options, context, folder)
        except StoreError as error:
            damage = str(error)
    warnings.warn(f"{folder}: cached data are damaged ({damage}); they are read and tokenised anew", stacklevel=3)
    task: Task = task_class(options, context)  # type: ignore[call-arg]
    if not folder.name.startswith(_name(task)):
        raise DataError(
            f"task {task.name}: the data changed while the study ran, and what was cached of them in {folder} is "
            "damaged; start the study again"
        )
    return task


def _name(task: Task, retention: Retention | None = None) -> str:
    made_by = f"{type(task).__module__}:{type(task).__qualname__}"
    name = f"task-{content_hash({'format': FORMAT, 'made_by': made_by, 'task': task.cache_key()})}"
    return name if retention is None else f"{name}-{content_hash(retention.fingerprint())}"


def _build(task: Task, retention: Retention | None, place: Path) -> None:
    task.save_cache(place, retention)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    manifest = {path.relative_to(place).as_posix(): [path.stat().st_size, file_sha256(path)] for path in files}
    (place / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _damage(folder: Path, *, by_hash: bool) -> str | None:
    """What is wrong with a folder; None if nothing is."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name, (size, sha256) in manifest.items():
            if (folder / name).stat().st_size != size:
                return f"{name} has another size"
            if by_hash and file_sha256(folder / name) != sha256:
                return f"{name} has another content"
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return str(error)
    return None
