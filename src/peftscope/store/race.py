"""Looks that a study's race took, kept beside its records: what was decided is read again, and not decided again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import TypeAdapter

from peftscope.errors import StoreError
from peftscope.schema.elimination import RaceLook
from peftscope.schema.reader import why_unreadable
from peftscope.store.files import write_text

__all__ = ["RACE_FILE", "keeper_of_looks", "race_looks", "write_race_looks"]

RACE_FILE = "race.json"
LOOKS = TypeAdapter(tuple[RaceLook, ...])


def race_looks(folder: Path, notes: list[str] | None = None) -> tuple[RaceLook, ...]:
    """Looks in the order in which they were taken; none where there is no file.

    Args:
        folder: The study's folder.
        notes: Takes a line where there is one that cannot be read, for who only reads the study.

    Raises:
        StoreError: It cannot be read, and there are no notes.
    """
    path = folder / RACE_FILE
    try:
        return LOOKS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        reason = why_unreadable(error)
        if notes is None:
            raise StoreError(
                f"{path}: cannot be read, and tells which methods the race eliminated ({reason}). Put it back from a "
                "copy; or train all methods to the end with '--no-race'; or remove it, and the race begins anew"
            ) from error
        notes.append(f"{path} cannot be read, so no method counts as eliminated: {reason}")
        return ()


def write_race_looks(folder: Path, looks: Iterable[RaceLook]) -> None:
    """Keep these looks and no others.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    write_text(folder / RACE_FILE, LOOKS.dump_json(tuple(looks), indent=1).decode() + "\n")


def keeper_of_looks(folder: Path, looks: Iterable[RaceLook] = ()) -> Callable[[RaceLook], None]:
    """What keeps each further look beside these; it raises ``StoreError`` where that cannot be written."""
    kept = list(looks)

    def keep(look: RaceLook) -> None:
        kept.append(look)
        write_race_looks(folder, kept)

    return keep
