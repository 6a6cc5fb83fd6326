"""Everything there is to know of one run, as an answer that shows itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.analysis.rate_source import with_rate_source
from peftscope.execution.status import read_status
from peftscope.schema.record import NOT_FAILED, RunRecord
from peftscope.store.files import record_path
from peftscope.study.published import is_published, place_of
from peftscope.views.line import one_line
from peftscope.views.run_sections import Section, run_sections
from peftscope.views.shown import Shown, labelled, unbroken

__all__ = ["RunDetails", "details_of", "repeat_command"]


@dataclass(frozen=True, kw_only=True, repr=False)
class RunDetails(Shown):
    """One run: what it was, how it ended, its metrics, curve and outputs, and how to repeat it."""

    record: RunRecord
    folder: Path
    """Of the study."""

    schema: ClassVar[str] = "show"

    @property
    def place(self) -> Path:
        """Of the study: its folder, or the name of published results."""
        return place_of(self.folder)

    @property
    def places(self) -> dict[str, str | None]:
        """Where its record, its adapter and its log lie; None for what there is not, and of published results."""
        run_id = self.record.run_id
        if is_published(self.place):  # files of the cache are no one's to open
            return dict.fromkeys(("record", "adapter", "log"))
        adapter, log = self.folder / "adapters" / run_id, self.folder / "logs" / f"{run_id}.log"
        return {
            "record": str(record_path(self.folder, run_id)),
            "adapter": str(adapter) if adapter.exists() else None,
            "log": str(log) if log.exists() else None,
        }

    def _content(self) -> Mapping[str, Any]:
        plain = self.record.model_dump(mode="json", by_alias=True)
        command = repeat_command(self.record, self.folder)
        return {"run": plain, "folder": str(self.place), **self.places, "repeat": command}

    def _parts(self) -> Iterator[RenderableType]:
        record = self.record
        style = "green" if record.status in NOT_FAILED else "red"
        yield Text.assemble((one_line(record.spec.title), "bold"), f"  {record.run_id}  ", (record.status, style))
        for section in run_sections(record):
            yield from _section(section)
        if is_published(self.place):
            yield Text("\nfrom", style="bold")
            yield unbroken(f"  {self.place}")
        else:
            yield Text("\nfiles", style="bold")
            for name, place in self.places.items():
                yield unbroken(f"  {name + ':':9}{place or 'none'}")
        command = repeat_command(record, self.folder)
        if command is not None:
            yield Text("\nto repeat it", style="bold")
            yield unbroken(f"  {command}")


def details_of(record: RunRecord, folder: Path) -> RunDetails:
    """Everything there is to know of a run of the study in a folder."""
    return RunDetails(record=with_rate_source(record, read_status(folder).tunings), folder=folder)


def repeat_command(record: RunRecord, folder: Path) -> str | None:
    """The command that repeats a run with the threads it had: another number adds up in another order.

    None for a run that was not made here.
    """
    if record.origin == "foreign":
        return None
    words = ["peftscope", "rerun", record.run_id, "--study", str(folder)]
    counts = [attempt.environment.get("num_threads") for attempt in record.attempts if attempt.kind == "run"]
    if counts and counts[-1]:
        words += ["--threads", str(counts[-1])]
    return shlex.join(words)


def _section(section: Section) -> Iterator[RenderableType]:
    yield Text(f"\n{section.title}", style="bold")
    yield labelled(section.lines)
