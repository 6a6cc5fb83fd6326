"""What all trackers share: which events they are told, on a thread of their own, and that they may fail."""

from __future__ import annotations

import json
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, ClassVar

from peftscope.capture import capture
from peftscope.errors import StoreError
from peftscope.execution.events import Listener
from peftscope.schema.live import RunState
from peftscope.schema.record import RunRecord, Status
from peftscope.schema.run import RunSpec

__all__ = ["LOSS", "VALID_SCORE", "TrackedEnd", "TrackedStart", "Tracker", "flat", "warn_user"]

LOSS, VALID_SCORE = "step/loss", "step/valid_score"
"""By training step, apart from the record's metrics: its ``train_loss`` is the mean over a stretch."""

PATIENCE_S = 60.0
"""How long a study that has ended waits for its tracker."""

MAX_VALUE_CHARS = 500


@dataclass(frozen=True, kw_only=True)
class TrackedStart:
    """What a tracker is told of a run that starts."""

    title: str
    group: str
    """The same for the seeds of a method at one learning rate: trackers average over a group."""
    config: Mapping[str, Any]
    """The run's spec, nested."""
    tags: Mapping[str, str]
    """``run_id``, ``method``, ``study``, ``attempt``; the first is the same when a run is attempted again."""


@dataclass(frozen=True, kw_only=True)
class TrackedEnd:
    """What a tracker is told of a run that has ended."""

    status: Status
    reason: str | None
    metrics: Mapping[str, float]
    step: int
    """The last training step."""
    pictures: Mapping[str, Path] = field(default_factory=dict)
    """The run's artefacts that are pictures, by name."""

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped from outside, not by itself."""
        return self.status in ("killed", "eliminated")


@dataclass
class _Page:
    """A run in the tracker."""

    handle: Any = None
    """The tracker's own; made and used on its thread."""
    step: int = 0
    valid_score: float | None = None


def warn_user(message: str) -> None:
    """Python's own way to warn."""
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names; lists as JSON, long texts cut, for trackers that take plain values alone.

    >>> flat({"task": {"name": "math", "options": {}}, "seeds": [1, 2], "rank": None})
    {'task.name': 'math', 'seeds': '[1, 2]', 'rank': None}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
            continue
        value = json.dumps(value) if isinstance(value, (list, tuple)) else value
        if isinstance(value, str) and len(value) > MAX_VALUE_CHARS:
            value = value[: MAX_VALUE_CHARS - 1] + "…"
        found[f"{prefix}{key}"] = value
    return found


class Tracker(Listener, ABC):
    """Reports a study to a tracker.

    The tracker works on a thread of its own: a server that does not answer must hold up neither the runs nor what
    they measure. When it fails once, it is told nothing more and the user is.

    Args:
        project: What the tracker shall call the study.
        folder: Of the study, with the artefacts of its runs; None logs none.
        warn: Told once when the tracker fails.
    """

    name: ClassVar[str]
    environment: ClassVar[Mapping[str, str]] = {}
    """Set before its package is imported, where the user has not: reports of its makers' own that nobody asked for."""

    def __init__(self, project: str, *, folder: Path | None = None, warn: Callable[[str], None] = warn_user) -> None:
        self.project, self.folder = project, folder
        self._warn = warn
        self._pages: dict[str, _Page] = {}
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._failed: str | None = None
        self._has_warned = False
        self._thread = Thread(target=self._work, name=f"peftscope-{self.name}", daemon=True)
        self._thread.start()

    # What each tracker gives; called on its thread, one after another.

    @abstractmethod
    def begin(self, start: TrackedStart) -> Any:
        """Make a run in the tracker beside those under way; gives its handle."""

    @abstractmethod
    def log(self, handle: Any, step: int, values: Mapping[str, float]) -> None:
        """Values of a training step."""

    @abstractmethod
    def end(self, handle: Any, outcome: TrackedEnd) -> None:
        """Metrics and status; nothing follows for this run."""

    def close(self) -> None:
        """Leave nothing open, also after a failure."""

    # What a study tells.

    def started(self, run: RunSpec, state: RunState) -> None:
        self._leave(run.run_id)  # an attempt whose end nobody saw
        self._begin(run, state.title, state.num_attempts + 1)

    def moved(self, run: RunSpec, state: RunState) -> None:
        page = self._pages.get(run.run_id)
        if page is None:
            return
        values: dict[str, float] = {}
        if state.step is not None and state.loss is not None and state.step > page.step:
            values[LOSS] = state.loss
            page.step = state.step
        score = state.valid_score
        if score is not None and math.isfinite(score) and score != page.valid_score:
            values[VALID_SCORE] = page.valid_score = score
        if values:
            step = page.step
            self._do(lambda: self.log(page.handle, step, values))

    def ended(self, run: RunSpec, record: RunRecord) -> None:
        if run.run_id not in self._pages:  # refused before it started
            self._begin(run, run.title, max(1, len(record.attempts)))
        self._end(
            run.run_id,
            TrackedEnd(
                status=record.status,
                reason=record.reason,
                metrics={name: value for name, value in record.metrics.items() if value is not None},
                step=self._pages[run.run_id].step,
                pictures=self._pictures(record),
            ),
        )

    def _pictures(self, record: RunRecord) -> dict[str, Path]:
        if self.folder is None:
            return {}
        found = {artefact.name: self.folder / artefact.path for artefact in record.artefacts}
        return {name: path for name, path in found.items() if path.suffix == ".png" and path.is_file()}

    def closed(self) -> None:
        for run_id in list(self._pages):
            self._leave(run_id)
        self._jobs.put(None)
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive() and self._failed is None:
            self._failed = f"it has not taken everything after {PATIENCE_S:g} s"
        self._tell()

    def _begin(self, run: RunSpec, title: str, attempt: int) -> None:
        tags = {
            "run_id": run.run_id,
            "method": run.method.title,
            "study": self.project,
            "attempt": str(attempt),
        }
        group = title.removesuffix(f" seed {run.seed}")
        start = TrackedStart(title=title, group=group, config=run.model_dump(mode="json"), tags=tags)
        page = self._pages[run.run_id] = _Page()

        def begin() -> None:
            page.handle = self.begin(start)

        self._do(begin)

    def _end(self, run_id: str, outcome: TrackedEnd) -> None:
        page = self._pages.pop(run_id)
        self._do(lambda: self.end(page.handle, outcome))

    def _leave(self, run_id: str) -> None:
        page = self._pages.get(run_id)
        if page is not None:
            self._end(run_id, TrackedEnd(status="killed", reason="no end was seen", metrics={}, step=page.step))

    def _do(self, job: Callable[[], None]) -> None:
        if self._failed is None:
            self._jobs.put(job)
        self._tell()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._failed is None:
                self._failed = _try(job)
        failed = _try(self.close)
        self._failed = self._failed or failed

    def _tell(self) -> None:
        if self._failed is not None and not self._has_warned:
            self._has_warned = True
            self._warn(f"{self.name} is switched off, the runs go on: {self._failed}")


def _try(job: Callable[[], None]) -> str | None:
    """What went wrong; None when nothing did."""
    try:
        failure = capture(job)
    except StoreError as error:  # the tracker's place is full, which need not be where the records are
        return str(error)
    return None if failure is None else failure.reason
