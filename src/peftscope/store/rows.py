"""Records read as rows, fast: of thousands what a table and a plot of runs need, examples left unread.

Files that others wrote may hold anything; one that is no record is left out, with the reason.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from peftscope.schema.flat_settings import flat
from peftscope.schema.reader import why_unreadable
from peftscope.schema.record import RunRecord
from peftscope.schema.study import CONTROL
from peftscope.store.files import without_collector

__all__ = ["Row", "RowReader", "folder_state"]

RECORDS = "records"
"""Where records lie in a study's folder."""
LARGEST = sys.float_info.max
EXAMPLES, END = b'\n "examples": [\n', b"\n ],"
SETTINGS = ("model", "task", "train", "measure", "method")
"""Parts of a run's specification whose fields are settings."""
NO_SETTINGS = ("method.name", "method.label", "method.learning_rates", "method.search", "task.name", "model.source")
"""What is a column of its own, or says nothing of one run."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run."""

    run_id: str
    method: str
    card: str
    purpose: str
    status: str
    learning_rate: float | None
    seed: int
    task: str
    model: str
    conditions: str
    version: str
    metrics: Mapping[str, float]
    score: Mapping[str, Any] | None
    """The task's metric, as the record has it."""
    benchmark: str | None
    """The public benchmark that a foreign run is of."""
    settings: Mapping[str, str]


@dataclass
class RowReader:
    """Reads a study's folder; a second reading reads what has changed since."""

    folder: Path
    notes: list[str] = field(default_factory=list)
    """Of the last reading: what was left out and why."""
    _known: dict[str, tuple[tuple[int, int], Row | str]] = field(default_factory=dict)
    _flat: dict[str, dict[str, str]] = field(default_factory=dict)

    def rows(self) -> list[Row]:
        """Every run, in the order of its file's name."""
        found: dict[str, tuple[tuple[int, int], Row | str]] = {}
        with without_collector():
            for name, stamp in _record_files(self.folder):
                known = self._known.get(name)
                if known is None or known[0] != stamp:
                    known = stamp, self._read(self.folder / RECORDS / name)
                found[name] = known
        self._known = found
        self.notes = [row for _, row in found.values() if isinstance(row, str)]
        return [row for _, row in found.values() if isinstance(row, Row)]

    def _read(self, path: Path) -> Row | str:
        try:
            return self._row(from_json(_without_examples(path.read_bytes()), cache_strings="keys"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            return f"left out: {path.name} is no record ({_why(path, error)})"

    def _row(self, record: dict[str, Any]) -> Row:
        spec = record["spec"]
        method = spec["method"]
        attempts = record.get("attempts") or [{}]
        environment = attempts[-1].get("environment") or {}
        packages = environment.get("packages") or {}
        versions = {"peftscope": environment.get("peftscope"), "peft": packages.get("peft")}
        rate = spec.get("learning_rate")
        return Row(
            run_id=str(record["run_id"]),
            method=CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(method.get("label") or method["name"])),
            card=str(method["name"]),
            purpose=str(spec.get("purpose", "final")),
            status=str(record["status"]),
            learning_rate=None if rate is None else _finite(rate),
            seed=int(spec.get("seed", 0)),
            task=str(spec["task"]["name"]),
            model=str(spec["model"]["source"]),
            conditions=str(record.get("quality_protocol") or "unknown")[:8],
            version=", ".join(f"{name} {version}" for name, version in versions.items() if version) or "unknown",
            metrics={
                str(name): float(value) if isinstance(value, float) else int(value)
                for name, value in (record.get("metrics") or {}).items()
                if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
            },
            score=record.get("metric"),
            benchmark=(record.get("data") or {}).get("benchmark"),
            settings=self._settings(spec),
        )

    def _settings(self, spec: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for part in SETTINGS:
            value = spec.get(part)
            text = part + json.dumps(value, sort_keys=True)
            if text not in self._flat:
                lines = flat(value, f"{part}.") if isinstance(value, dict) else []
                self._flat[text] = {name: known for name, known in lines if name not in NO_SETTINGS}
            found.update(self._flat[text])
        return found


def _without_examples(text: bytes) -> bytes:
    """A record as we write it without its examples, which are most of it; any other text as it is.

    At one space after a line break stand the record's own keys alone: a text in it cannot hold a line break.
    """
    start = text.find(EXAMPLES)
    end = text.find(END, start)
    return text if start < 0 or end < 0 else text[:start] + text[end + len(END) :]


def _why(path: Path, error: Exception) -> str:
    """What is wrong with a record, found by reading it whole; where that can be read, what stopped us."""
    try:
        RunRecord.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as told:
        return why_unreadable(told, RunRecord)
    return f"{type(error).__name__}: {str(error)[:100]}"


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no learning rate")
    return number


def _record_files(folder: Path) -> list[tuple[str, tuple[int, int]]]:
    """Names of the files that hold records, in order, with time and size of each."""
    found = []
    with suppress(FileNotFoundError), os.scandir(folder / RECORDS) as entries:
        for entry in entries:
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                with suppress(OSError):  # gone since it was listed
                    stat = entry.stat()
                    found.append((entry.name, (stat.st_mtime_ns, stat.st_size)))
    return sorted(found)


def folder_state(folder: Path) -> str:
    """A word that changes when records come, go or change."""
    digest = hashlib.sha256()
    for name, stamp in _record_files(folder):
        digest.update(f"{name} {stamp}\n".encode())
    return digest.hexdigest()[:16]
