"""Takes the libraries for other accelerators out of a wheel."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["keep_libraries"]

LIBRARY = re.compile(r".*/lib[a-z]+_(?P<kind>[a-z0-9]+)\.so")


def keep_libraries(wheel: Path, kinds: Sequence[str]) -> None:
    """Rewrite a wheel without the libraries of other kinds, and its list of files to match.

    Args:
        wheel: The file; its name stays.
        kinds: What stands at the end of the names of the libraries to keep, such as ``cpu`` and ``cuda130``.
    """
    thin = wheel.with_suffix(".thin")
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(thin, "w", zipfile.ZIP_DEFLATED) as kept:
        for entry in whole.infolist():
            if not _stays(entry.filename, kinds):
                continue
            content = whole.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                content = _listed(content.decode("utf-8"), kinds).encode("utf-8")
            kept.writestr(entry, content, zipfile.ZIP_DEFLATED)
    thin.replace(wheel)


def _stays(name: str, kinds: Sequence[str]) -> bool:
    found = LIBRARY.fullmatch(name)
    return found is None or found["kind"] in kinds


def _listed(record: str, kinds: Sequence[str]) -> str:
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(r for r in csv.reader(io.StringIO(record)) if _stays(r[0], kinds))
    return lines.getvalue()
