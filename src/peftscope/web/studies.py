"""The studies an explorer shows: those it was given, or those in the folders it was given."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peftscope.study.documents import StudyDocuments
from peftscope.study.folder import RESULTS

__all__ = ["Kept", "studies_in"]


def studies_in(places: Sequence[Path]) -> dict[str, StudyDocuments]:
    """Key -> study, of folders and study files; a folder of several studies stands for all of them.

    Args:
        places: Given by the user; ``results`` where there is none.

    Raises:
        SpecError: One of them is neither a study nor holds one.
    """
    found: dict[str, StudyDocuments] = {}
    for place in places or [RESULTS]:
        for each in _studies(place):
            key, number = each.name, 2
            while key in found:
                key, number = f"{each.name}-{number}", number + 1
            found[key] = each
    return found


def _studies(place: Path) -> list[StudyDocuments]:
    inside = sorted(path.parent for path in place.glob("*/records")) if place.is_dir() else []
    if inside and not (place / "records").is_dir():
        return [StudyDocuments(folder) for folder in inside]
    study = StudyDocuments(place)
    study.folder  # noqa: B018  raises where there is none
    return [study]


class Kept:
    """A study's documents as JSON, made once for each state of its folder and by one thread at a time."""

    def __init__(self, study: StudyDocuments) -> None:
        self.study = study
        self._lock = threading.Lock()
        self._made: dict[str, tuple[str, bytes]] = {}

    def get(self, name: str, make: Callable[[], dict[str, Any]]) -> bytes:
        """A document by its name.

        Raises:
            SpecError: There is none.
            StoreError: A record cannot be read.
        """
        state = self.study.state()
        known = self._made.get(name)
        if known is not None and known[0] == state:
            return known[1]
        with self._lock:
            known = self._made.get(name)
            if known is None or known[0] != state:
                text = json.dumps(make(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
                self._made[name] = known = state, text.encode()
        return known[1]
