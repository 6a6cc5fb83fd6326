"""The parent's side of one run under way: its process, what it says, its state on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from peftscope.errors import PeftscopeError, StoreError
from peftscope.execution.executors.exit_status import exit_reason, log_tail, num_oom_kills
from peftscope.execution.executors.forking import warm_up
from peftscope.execution.executors.worker import Order, do_run
from peftscope.execution.recovery import num_attempts, record_lost_attempt
from peftscope.schema.live import RunState
from peftscope.schema.record import RunRecord, timestamp
from peftscope.schema.run import RunSpec
from peftscope.store.files import read_record, record_path
from peftscope.store.run_states import clear_state, write_state

__all__ = ["Child"]

STATE_PERIOD_S = 1.0
"""Shortest time between two writings of a run's state."""


class Child:
    """A run in a process of its own.

    Args:
        run: What it does.
        order: What its process is told.
        worker: Its place among the workers, from 0.
    """

    def __init__(self, run: RunSpec, order: Order, worker: int) -> None:
        self.run, self.order = run, order
        now = timestamp()
        self.state = RunState(
            run_id=run.run_id,
            title=run.title,
            worker=worker,
            num_workers=order.num_workers,
            num_attempts=num_attempts(order.folder, run.run_id),
            started_at=now,
            updated_at=now,
            until=order.until,
            spec=run,
        )
        self._kills_before = num_oom_kills()
        self._log_start = order.log.stat().st_size if order.log.exists() else 0
        self._started = self._written = time.monotonic()
        self._first_step: tuple[float, int] | None = None
        self._process: Any = None
        self._connection: Connection | None = None

    def start(self) -> None:
        """Write the state, then start the process.

        Raises:
            StoreError: The state cannot be written; nothing was started.
            PeftscopeError: No process can be started.
        """
        write_state(self.order.folder, self.state)
        try:
            self._fork()
        except (EOFError, OSError):  # the process children are forked from was ended meanwhile; it starts anew
            self._fork(last=True)
        self._move("start", {"pid": self._process.pid})

    def _fork(self, *, last: bool = False) -> None:
        context = warm_up()
        ours, theirs = context.Pipe()
        self._process = context.Process(target=do_run, args=(self.order, theirs), daemon=True)
        try:
            self._process.start()
        except (EOFError, OSError) as error:
            ours.close()
            if last:
                raise PeftscopeError(f"no process can be started for a run: {error}") from error
            raise
        finally:
            theirs.close()
        self._connection = ours

    @property
    def handles(self) -> list[Any]:
        """What to wait at for news."""
        talking = [self._connection] if self._connection is not None else []
        return [*talking, self._process.sentinel]

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended and everything it said was taken."""
        return self._connection is None and self._process.exitcode is not None

    def news(self) -> Iterator[RunState]:
        """States the run has gone through since the last call.

        Raises:
            StoreError: The run could not write.
        """
        while self._connection is not None:
            try:
                if not self._connection.poll():
                    # An ended process may leave its end open in another one for a moment; there is nothing more in it.
                    if self._process.exitcode is not None:
                        self._hang_up()
                    return
                stage, fields = self._connection.recv()
            except (EOFError, OSError):
                self._hang_up()
                return
            if stage == "store-error":
                raise StoreError(fields["message"])
            self._move(stage, fields)
            yield self.state

    def ask_to_stop(self) -> None:
        """Ask the run to end after its current step."""
        if self._connection is not None:
            with suppress(OSError):  # it has ended in this moment
                self._connection.send("stop")

    def conclude(self) -> RunRecord:
        """The record of a run whose process has ended, written here where the process could not.

        Raises:
            StoreError: The folder is not writable or the disk is full.
        """
        self._process.join()
        folder, run_id = self.order.folder, self.run.run_id
        if num_attempts(folder, run_id) == self.state.num_attempts:
            status, reason = exit_reason(self._process.exitcode, self._kills_before, num_oom_kills())
            record_lost_attempt(
                folder, self.state, status=status, reason=reason, trace=log_tail(self.order.log, self._log_start)
            )
        else:
            clear_state(folder, run_id)
        return read_record(record_path(folder, run_id))

    def end_now(self, reason: str) -> None:
        """End the process at once and write the record of its start.

        Raises:
            StoreError: The folder is not writable or the disk is full.
        """
        if self._process is not None and self._process.pid is not None:
            self._process.kill()
            self._process.join()
        self._hang_up()
        record_lost_attempt(self.order.folder, self.state, status="killed", reason=reason)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _move(self, stage: str, fields: dict[str, Any]) -> None:
        """Take news into the state, and write it where the last writing is a while ago."""
        now = time.monotonic()
        if stage != self.state.stage:
            fields = {"num_scored": None, "num_to_score": None, **fields}
        if "step" in fields:
            fields["step_time_s"] = self._step_time(now, fields["step"])
        elapsed = round(now - self._started, 3)
        self.state = self.state.model_copy(
            update={**fields, "stage": stage, "updated_at": timestamp(), "elapsed_s": elapsed}
        )
        if now - self._written >= STATE_PERIOD_S or stage == "start":
            self._written = now
            with suppress(StoreError):  # the start is accounted for; how far it came is worth no run
                write_state(self.order.folder, self.state)

    def _step_time(self, now: float, step: int) -> float | None:
        if self._first_step is None:
            self._first_step = (now, step)
            return None
        since, first = self._first_step
        return (now - since) / (step - first) if step > first else None
