"""Measured strengths of adapters in a study's folder: one file each, written whole, kept for the next call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from peftscope.errors import StoreError
from peftscope.schema.strength import StrengthRecord
from peftscope.store.files import ensure_folder, write_text

__all__ = ["known_strength", "stored_strengths", "write_strength"]

FOLDER = "strengths"


def write_strength(folder: Path, found: StrengthRecord) -> None:
    """Write what was measured at one strength of one run.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    ensure_folder(folder / FOLDER)
    write_text(_path(folder, found.key, found.strength), found.model_dump_json(indent=1, by_alias=True) + "\n")


def known_strength(folder: Path, key: str, strength: float, made_of: Mapping[str, Any]) -> StrengthRecord | None:
    """What was measured before; None where nothing was, or of another training, base or data.

    Args:
        folder: Of the study.
        key: Of the run, as the record has it.
        strength: From 0 to 1.
        made_of: As the record must have it.
    """
    found = _read(_path(folder, key, strength))
    return found if found is not None and found.made_of == dict(made_of) else None


def stored_strengths(folder: Path) -> list[StrengthRecord]:
    """All that was measured, in the order of files; what cannot be read is measured anew by the next call."""
    found = (_read(path) for path in sorted((folder / FOLDER).glob("[!.]*.json")))
    return [record for record in found if record is not None]


def _read(path: Path) -> StrengthRecord | None:
    try:
        return StrengthRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error})") from error


def _path(folder: Path, key: str, strength: float) -> Path:
    return folder / FOLDER / f"{key}-{strength!r}.json"
