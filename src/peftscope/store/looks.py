"""By which seeds a study was judged before: what was known when a user added seeds by hand."""

from __future__ import annotations

import json
from pathlib import Path

from peftscope.schema.seeds import Looks, SeedPlan
from peftscope.schema.study import StudySpec
from peftscope.store.files import write_text

__all__ = ["add_look", "looks_of"]

LOOKS_FILE = "looks.json"


def looks_of(folder: Path, study: StudySpec) -> Looks:
    """Looks that were taken of a study, the one at the seeds it has now being the last."""
    now = study.seeds.looks if isinstance(study.seeds, SeedPlan) else Looks(seeds=(study.seeds,))
    before = _taken(folder)
    if before is None:
        return now
    new = tuple(seeds for seeds in now.seeds if set(seeds) - set(before.seeds[-1]))
    return Looks(seeds=(*before.seeds, *new), num_planned=before.num_planned)


def add_look(folder: Path, study: StudySpec) -> None:
    """Note that a study with these seeds ended and could be judged, before it goes on with others.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    taken = looks_of(folder, study)
    content = {"seeds": taken.seeds, "num_planned": taken.num_planned}
    write_text(folder / LOOKS_FILE, json.dumps(content) + "\n")


def _taken(folder: Path) -> Looks | None:
    try:
        raw = json.loads((folder / LOOKS_FILE).read_text(encoding="utf-8"))
        return Looks(seeds=tuple(tuple(map(int, seeds)) for seeds in raw["seeds"]), num_planned=int(raw["num_planned"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
