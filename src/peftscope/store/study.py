"""The study as it was run last, kept beside its records."""

from __future__ import annotations

import json
from pathlib import Path

from peftscope.schema.reader import why_unreadable
from peftscope.schema.study import StudySpec
from peftscope.store.files import write_text

__all__ = ["STUDY_FILE", "read_stored_study", "write_study"]

STUDY_FILE = "study.json"


def write_study(folder: Path, study: StudySpec) -> None:
    """Write a study into its folder.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    write_text(folder / STUDY_FILE, study.model_dump_json(indent=1) + "\n")


def read_stored_study(folder: Path, notes: list[str] | None = None, *, then: str = "") -> StudySpec | None:
    """The study as it was run last; None where it never was, or by a version whose studies cannot be read.

    Args:
        folder: The study's folder.
        notes: Takes a line where there is one that cannot be read.
        then: What follows from that, to stand in the line.
    """
    path = folder / STUDY_FILE
    try:
        text = path.read_text(encoding="utf-8")
        study = StudySpec.model_validate_json(text)
        # what is not said is from before there was a race: every method was trained to the end
        return study if "race" in json.loads(text) else study.model_copy(update={"race": False})
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if notes is not None:
            notes.append(f"{path} cannot be read, so {then}: {why_unreadable(error, StudySpec)}")
        return None
