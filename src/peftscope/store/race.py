"""Looks that a study's race took, kept beside its records: what was decided is read again, and not decided again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter

from peftscope.schema.elimination import RaceLook
from peftscope.store.files import write_text

__all__ = ["RACE_FILE", "add_race_look", "race_looks", "write_race_looks"]

RACE_FILE = "race.json"
LOOKS = TypeAdapter(tuple[RaceLook, ...])


def race_looks(folder: Path) -> tuple[RaceLook, ...]:
    """Looks in the order in which they were taken; none where there is no file that can be read."""
    try:
        return LOOKS.validate_json((folder / RACE_FILE).read_bytes())
    except (OSError, ValueError):
        return ()


def write_race_looks(folder: Path, looks: Iterable[RaceLook]) -> None:
    """Keep these looks and no others.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    write_text(folder / RACE_FILE, LOOKS.dump_json(tuple(looks), indent=1).decode() + "\n")


def add_race_look(folder: Path, look: RaceLook) -> None:
    """Keep one more.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    write_race_looks(folder, (*race_looks(folder), look))
