"""A run repeated from its record alone, and set against it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.errors import SpecError
from peftscope.execution.launcher import study_lock
from peftscope.execution.repeat import Agreement, compare_records
from peftscope.schema.record import RunRecord
from peftscope.store.base_folder import base_folder
from peftscope.store.files import add_attempt, ensure_folder, record_path
from peftscope.study.running import RunOptions, do_runs
from peftscope.tuning.job import Job
from peftscope.views.progress.reporter import Reporter
from peftscope.views.shown import Shown

__all__ = ["Repetition", "repeat"]

SHOWN = 12
"""Deviations shown; the document holds all."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Repetition(Shown):
    """A run, its repetition, and where they differ."""

    first: RunRecord
    second: RunRecord
    found: Agreement
    noted: bool
    """Whether the record now says that it was repeated."""

    schema: ClassVar[str] = "rerun"

    @property
    def agrees(self) -> bool:
        """Whether all that can repeat is the same."""
        return self.found.agrees

    def _content(self) -> Mapping[str, Any]:
        found = self.found
        return {
            "run_id": self.first.run_id,
            "agrees": found.agrees,
            "same_losses": found.same_losses,
            "num_losses": found.num_losses,
            "deviations": list(found.deviations),
            "conditions": list(found.conditions),
            "status": self.second.status,
            "noted": self.noted,
        }

    def _parts(self) -> Iterator[RenderableType]:
        first, second, found = self.first, self.second, self.found
        yield Text(f"{first.spec.title} ({first.run_id}): first {first.status}, now {second.status}", style="bold")
        if found.same_losses:
            yield Text(f"  all {found.num_losses} losses on the curve are the same, bit for bit")
        if not found.deviations:
            yield Text("  every figure that can repeat is the same", style="green")
        for line in found.deviations[:SHOWN]:
            yield Text(f"  differs: {line}", style="red")
        if len(found.deviations) > SHOWN:
            yield Text(f"  … and {len(found.deviations) - SHOWN} more; --json lists all", style="red")
        for line in found.conditions:
            yield Text(f"  other conditions: {line}", style="yellow")
        for name, label in (("train_time_s", "training"), ("total_time_s", "in all")):
            before, now = first.metrics.get(name), second.metrics.get(name)
            if before and now:
                yield Text(f"  {label}: {before:.1f} s, now {now:.1f} s")


def repeat(record: RunRecord, folder: Path, *, threads: int | None = None, reporter: Reporter) -> Repetition:
    """Repeat a run and compare.

    Args:
        record: Of the run.
        folder: Of its study.
        threads: Threads; those of the run where None.
        reporter: Shows how it gets on.

    Raises:
        SpecError: It was imported.
        PeftscopeError: Model or data are not as they should be.
    """
    if record.origin == "foreign":
        raise SpecError(record.run_id, ["was imported; only a run made here can be repeated"])
    options = RunOptions(workers=1, threads=threads or _threads_of(record))
    at_home = record_path(folder, record.run_id).is_file()  # else a loose copy, with no study around it
    with tempfile.TemporaryDirectory(dir=ensure_folder(folder) if at_home else None, prefix=".rerun-") as place:
        jobs, base = [Job.of(record)], base_folder(folder)
        done = do_runs(jobs, Path(place), title=record.spec.title, options=options, reporter=reporter, base=base)
        (second,) = done.records
    found = compare_records(record, second)
    again = second.attempts[-1].model_copy(update={"kind": "rerun", "agrees": found.agrees})
    noted = False
    if at_home:
        with study_lock(folder, lambda: None):
            noted = add_attempt(folder, record, again)
    return Repetition(first=record, second=second, found=found, noted=noted)


def _threads_of(record: RunRecord) -> int | None:
    """Threads the metrics were taken with: another number adds up in another order."""
    counts = [a.environment.get("num_threads") for a in record.attempts if a.kind == "run" and a.environment]
    return int(counts[-1]) if counts and counts[-1] else None
