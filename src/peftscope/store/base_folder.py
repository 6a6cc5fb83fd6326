"""The folder that relative paths of a study are taken from: its file's; remembered beside its records.

What a run is called does not hold it: paths stay as they were written, and a project's folder may move.
"""

from __future__ import annotations

import os
from pathlib import Path

from peftscope.store.files import write_text

__all__ = ["base_folder", "remember_base_folder"]

FILE = "base_folder"


def remember_base_folder(folder: Path, base: Path) -> None:
    """Write where relative paths are taken from, as seen from the study's folder.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    try:
        seen = os.path.relpath(base.resolve(), folder.resolve())
    except ValueError:  # another drive
        seen = str(base.resolve())
    write_text(folder / FILE, seen + "\n")


def base_folder(folder: Path) -> Path:
    """Where relative paths of a study are taken from; the working folder where nobody knows or it is gone."""
    try:
        found = (folder.resolve() / (folder / FILE).read_text(encoding="utf-8").strip()).resolve()
    except (OSError, ValueError):
        return Path.cwd()
    return found if found.is_dir() else Path.cwd()
