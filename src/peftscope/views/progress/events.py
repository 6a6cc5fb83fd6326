"""How a study gets on, for programs: an event each time something happens."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

from peftscope.schema.live import RunState
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.views.documents import event_line
from peftscope.views.progress.tally import Clock, Tally

__all__ = ["Events", "OnEvent", "print_events"]

OnEvent = Callable[[Mapping[str, Any]], None]

STEP_PAUSE_S = 2.0
"""Least time between two lines on the steps of one run; the last step is told all the same."""


class Events(Tally):
    """Gives every event to a function.

    An event is ``{"event": …, "study": …, …}``, where ``event`` is ``planned``, ``started``, ``stage``, ``step`` (a
    training step, or more examples scored), ``ended``, ``stopping`` or ``closed``.

    Args:
        title: Name of the study.
        on_event: Called with each event, in the thread that runs the study.
        clock: Seconds.
    """

    def __init__(self, title: str, on_event: OnEvent, *, clock: Clock = time.monotonic) -> None:
        super().__init__(clock=clock)
        self.title, self.on_event = title, on_event
        self._told: dict[str, float] = {}
        self._untold: dict[str, RunState] = {}
        self._is_closed = False

    def planned(self, runs: Sequence[RunSpec], found: Sequence[RunRecord], num_workers: int) -> None:
        super().planned(runs, found, num_workers)
        found_ids = {record.run_id: record.status for record in found}
        listed = [
            {"run_id": run.run_id, "title": run.title, "status": found_ids.get(run.run_id)}
            for run in {run.run_id: run for run in runs}.values()
        ]
        self._tell("planned", num_workers=num_workers, runs=listed, **self._counted())

    def started(self, run: RunSpec, state: RunState) -> None:
        super().started(run, state)
        self._tell("started", **_of(run), worker=state.worker, num_attempts=state.num_attempts, **self._counted())

    def moved(self, run: RunSpec, state: RunState) -> None:
        before = self.under_way.get(run.run_id)
        super().moved(run, state)
        if before is None or before.state.stage != state.stage:
            self._catch_up(run)
            self._tell("stage", **_of(run), **_progress(state), eta_s=self._eta_s())
        elif self.clock() - self._told.get(run.run_id, -STEP_PAUSE_S) >= STEP_PAUSE_S:
            self._step(run, state)
        else:
            self._untold[run.run_id] = state

    def ended(self, run: RunSpec, record: RunRecord) -> None:
        self._catch_up(run)
        took_s = self.took_s(run)
        super().ended(run, record)
        self._tell(
            "ended",
            **_of(run),
            status=record.status,
            reason=record.reason,
            took_s=None if took_s is None else round(took_s, 3),
            num_attempts=len(record.attempts),
            purpose=record.spec.purpose,
            score=record.metrics.get("test_score"),
            metrics=record.metrics,
            **self._counted(),
        )

    def stopping(self) -> None:
        super().stopping()
        self._tell("stopping", **self._counted())

    def closed(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._tell("closed", **self._counted())

    def _catch_up(self, run: RunSpec) -> None:
        state = self._untold.pop(run.run_id, None)
        if state is not None:
            self._step(run, state)

    def _step(self, run: RunSpec, state: RunState) -> None:
        self._untold.pop(run.run_id, None)
        self._told[run.run_id] = self.clock()
        self._tell("step", **_of(run), **_progress(state), eta_s=self._eta_s())

    def _counted(self) -> dict[str, Any]:
        counts = self.counts()
        return {
            "num_runs": counts.total,
            "num_done": counts.done,
            "num_failed": counts.failed,
            "num_running": counts.running,
            "num_waiting": counts.waiting,
            "eta_s": self._eta_s(),
        }

    def _eta_s(self) -> float | None:
        eta = self.eta()
        return None if eta is None else round(eta.seconds, 1)

    def _tell(self, event: str, **content: Any) -> None:
        self.on_event({"event": event, "study": self.title, **content})


def print_events(stream: TextIO | None = None) -> OnEvent:
    """What prints each event as one line of JSON, until nobody reads any more.

    Args:
        stream: Where to write; stdout where none is given.
    """
    is_deaf = False

    def write(event: Mapping[str, Any]) -> None:
        nonlocal is_deaf
        if is_deaf:
            return
        out = stream or sys.stdout
        try:
            out.write(event_line(event) + "\n")
            out.flush()
        except BrokenPipeError:  # whoever read has left; the study goes on
            is_deaf = True
            with suppress(OSError, ValueError):  # what is left in the buffer would be complained about at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())

    return write


def _of(run: RunSpec) -> dict[str, Any]:
    return {"run_id": run.run_id, "title": run.title}


def _progress(state: RunState) -> dict[str, Any]:
    return {
        "stage": state.stage,
        "elapsed_s": round(state.elapsed_s, 3),
        "step": state.step,
        "max_steps": state.max_steps,
        "step_time_s": state.step_time_s,
        "loss": state.loss,
        "valid_score": state.valid_score,
        "num_scored": state.num_scored,
        "num_to_score": state.num_to_score,
    }
