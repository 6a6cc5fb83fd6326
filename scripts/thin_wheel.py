"""Takes what a machine does without out of a wheel: libraries for other accelerators, folders of code."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["keep_libraries", "leave_out_folders"]

LIBRARY = re.compile(r".*/lib[a-z]+_(?P<kind>[a-z0-9]+)\.so")


def keep_libraries(wheel: Path, kinds: Sequence[str]) -> None:
    """Rewrite a wheel without the libraries of other kinds, and its list of files to match.

    Args:
        wheel: The file; its name stays.
        kinds: What stands at the end of the names of the libraries to keep, such as ``cpu`` and ``cuda130``.
    """

    def stays(name: str) -> bool:
        found = LIBRARY.fullmatch(name)
        return found is None or found["kind"] in kinds

    _rewrite(wheel, stays)


def leave_out_folders(wheel: Path, folders: Sequence[str]) -> None:
    """Rewrite a wheel without some folders, and its list of files to match.

    Args:
        wheel: The file; its name stays.
        folders: Their paths in it.
    """
    _rewrite(wheel, lambda name: not name.startswith(tuple(f"{folder}/" for folder in folders)))


def _rewrite(wheel: Path, stays: Callable[[str], bool]) -> None:
    thin = wheel.with_suffix(".thin")
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(thin, "w", zipfile.ZIP_DEFLATED) as kept:
        for entry in whole.infolist():
            if not stays(entry.filename):
                continue
            content = whole.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                content = _listed(content.decode("utf-8"), stays).encode("utf-8")
            kept.writestr(entry, content, zipfile.ZIP_DEFLATED)
    thin.replace(wheel)


def _listed(record: str, stays: Callable[[str], bool]) -> str:
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(r for r in csv.reader(io.StringIO(record)) if stays(r[0]))
    return lines.getvalue()
