"""One run, as the page opens it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peftscope.schema.flat_settings import flat
from peftscope.schema.record import RunRecord
from peftscope.views.report.answers import cut, example_score, shown_texts
from peftscope.views.report.curves import course_of
from peftscope.views.run_sections import run_sections, worst_first

__all__ = ["details_data"]

MOST_OUTPUTS = 20
SHOWN_APART = ("outputs", "learning curve", "to look at", "traceback, where it happened")
"""Sections of the terminal that the page draws instead."""
PICTURE_BYTES = 4_000_000


def details_data(
    record: RunRecord, *, name: str, command: str | None, places: Mapping[str, str | None], folder: Path | None
) -> dict[str, Any]:
    """Settings, figures, curve, answers, pictures, and the command that repeats it.

    Args:
        record: Of the run.
        name: Of the candidate it is a run of.
        command: That repeats it; None for one that others made.
        places: Where its files lie, by what they are.
        folder: Of the study, for its pictures; None leaves them out.
    """
    course = course_of(name, record)
    curve = {"loss": course["loss"], "score": course["score"]} if record.curve else None
    spec = _plain(record.spec.model_dump_json(exclude_defaults=True))
    environment = next((a.environment for a in reversed(record.attempts) if a.kind == "run" and a.environment), {})
    files = [(what, place) for what, place in places.items() if place]
    sections = [(s.title, list(s.lines)) for s in run_sections(record) if s.title not in SHOWN_APART]
    tracebacks = [attempt.traceback for attempt in record.attempts if attempt.traceback]
    return {
        "id": record.run_id,
        "title": record.spec.title,
        "method": name,
        "status": record.status,
        "sections": [
            {"title": title, "lines": lines}
            for title, lines in [*sections, ("environment", flat(environment)), ("files", files)]
            if lines
        ],
        "curve": curve,
        "outputs": [
            {
                **shown_texts(e),
                "score": example_score(e, record.metric),
                "output": cut(e.output),
            }
            for e in worst_first(record)[:MOST_OUTPUTS]
        ],
        "pictures": [] if folder is None else _pictures(record, folder),
        "config": spec,
        "settings": flat(spec),
        "command": command,
        "traceback": tracebacks[-1] if tracebacks and record.status != "ok" else None,
    }


def _plain(text: str) -> dict[str, Any]:
    """A specification as JSON has it; numbers that JSON has no word for are words."""
    return dict(json.loads(text, parse_constant=str))


def _pictures(record: RunRecord, folder: Path) -> list[dict[str, str]]:
    """Sheets that the run left, as addresses that hold them; only those that lie in the study's own folder."""
    found = []
    for artefact in record.artefacts:
        path = folder / artefact.path
        inside = path.resolve().is_relative_to(folder.resolve())
        if inside and path.suffix == ".png" and path.is_file() and path.stat().st_size <= PICTURE_BYTES:
            address = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
            found.append({"about": artefact.about, "address": address})
    return found
