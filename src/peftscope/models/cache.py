"""The user's cache folder: what was fetched or converted once and is used again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_dir

from peftscope.errors import StoreError
from peftscope.store.files import STORAGE_ERRORS

__all__ = ["build_once", "cache_dir"]

VARIABLE = "PEFTSCOPE_CACHE"


def cache_dir() -> Path:
    """The cache folder: ``$PEFTSCOPE_CACHE``, or the place the operating system has for caches.

    It need not exist. The variable is read at every call, so a test or a child process can set it.
    """
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else Path(user_cache_dir("peftscope"))


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return ``folder``; where it is missing, build it first, whole or not at all.

    ``build`` fills an empty temporary folder beside the final one, which is then renamed. A process that
    is killed half-way leaves a temporary folder nobody reads. Of two processes one builds, the other waits.

    Raises:
        StoreError: The cache folder is not writable or its disk is full.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():
                _build(folder, build)
    except OSError as error:
        if isinstance(error, StoreError) or error.errno not in STORAGE_ERRORS:
            raise
        raise StoreError(
            f"{folder.parent}: the cache cannot be written ({error.strerror}); "
            f"free some space, or set {VARIABLE} to another folder"
        ) from error
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp"))
    try:
        build(temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
