"""The studies an explorer shows: those it was given, or those in the folders it was given."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peftscope.study.documents import StudyDocuments
from peftscope.study.folder import RESULTS

__all__ = ["Kept", "studies_in"]

MOST_KEPT = 500
"""Documents of a study in memory; of runs that were opened long ago the oldest go first."""


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
    """A study's documents as JSON, each made once for each state of its folder, by one thread at a time."""

    def __init__(self, study: StudyDocuments) -> None:
        self.study = study
        self._made: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def get(self, name: str, make: Callable[[], dict[str, Any]]) -> bytes:
        """A document by its name.

        Raises:
            SpecError: There is none.
            StoreError: A record cannot be read.
        """
        with self._locks[name]:  # one that takes long keeps nobody from the others
            state = self.study.state()
            known = self._made.get(name)
            if known is None or known[0] != state:
                text = json.dumps(make(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
                known = state, text.encode()
                self._made[name] = known
                while len(self._made) > MOST_KEPT:
                    self._made.popitem(last=False)
            return known[1]
