"""The studies an explorer shows: those it was given, or those in the folders it was given."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from peftscope.errors import SpecError
from peftscope.study.documents import StudyDocuments
from peftscope.study.folder import RESULTS
from peftscope.study.published import is_published, published_places
from peftscope.views.documents import compact_text

__all__ = ["Kept", "Once", "newest_published", "studies_in"]

NOTHING_YET = (
    "there is no such folder here: 'peftscope compare' makes it; give another folder, or --published for what others "
    "measured, what methods can do and the memory they take"
)
TAKEN = ("plan",)
"""Keys of no study, since other documents have such addresses."""
MOST_KEPT = 500
"""Documents of a study in memory; of runs that were opened long ago the oldest go first."""


def studies_in(places: Sequence[Path], *, published: bool = False) -> dict[str, StudyDocuments]:
    """Key -> study, of folders and study files; a folder of several studies stands for all of them.

    Args:
        places: Given by the user; ``results`` where there is none.
        published: Whether the public benchmark's results are shown, after the user's own; alone where there are none.

    Raises:
        SpecError: One of them is neither a study nor holds one.
    """
    if not places and not published and not ((RESULTS / "records").is_dir() or _inside(RESULTS)):
        raise SpecError(str(RESULTS), [NOTHING_YET])
    found: dict[str, StudyDocuments] = {}
    own = list(places) if places or published else [RESULTS]
    theirs = [place for place in published_places() if published and place not in own]
    for place in [*own, *theirs]:
        for each in _studies(place):
            key, number = each.key, 2
            while key in found or key in TAKEN:
                key, number = f"{each.key}-{number}", number + 1
            found[key] = each
    return found


def _studies(place: Path) -> list[StudyDocuments]:
    inside = _inside(place)
    if inside and not (place / "records").is_dir():
        return [StudyDocuments(folder) for folder in inside]
    study = StudyDocuments(place)
    if is_published(place):
        study.published  # noqa: B018  raises where there is none; records are written once they are asked for
    else:
        study.folder  # noqa: B018  raises where there is none
    return [study]


def _inside(place: Path) -> list[Path]:
    """Folders of studies in a folder."""
    return sorted(path.parent for path in place.glob("*/records")) if place.is_dir() else []


def newest_published(studies: Mapping[str, StudyDocuments]) -> str | None:
    """Key of the newest of the public benchmark's results, of texts where there are some; None where there are none."""
    known = {key: study.published for key, study in studies.items() if study.published is not None}
    return max(known, key=lambda key: (known[key]["task"] == "text", known[key]["release"]), default=None)


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
                known = state, compact_text(make()).encode()
                self._made[name] = known
                while len(self._made) > MOST_KEPT:
                    self._made.popitem(last=False)
            return known[1]


class Once:
    """A document as JSON that is made at the first call, by one thread, and stays as it is."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make
        self._made: bytes | None = None
        self._lock = threading.Lock()

    def get(self) -> bytes:
        """The document."""
        with self._lock:
            if self._made is None:
                self._made = compact_text(self._make()).encode()
            return self._made
