"""Runs in child processes, as many at once as there is room for, so that a crash costs one run and leaves a record.

Children are forked from a parent that has imported everything and done nothing else (``execution.forking``). What a
study shares is checked and prepared once, in such a child too: the process the user started imports no torch.

Every start is accounted for: its state lies on disk before the child starts and goes when the record is written;
a state that is found without a process is a start that was lost (``execution.recovery``).
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from peftscope.errors import PeftscopeError, StoreError
from peftscope.execution.child import Child
from peftscope.execution.events import Listener
from peftscope.execution.forking import warm_up
from peftscope.execution.interrupts import Interrupts
from peftscope.execution.recovery import recover
from peftscope.execution.room import Room
from peftscope.execution.share import Share
from peftscope.execution.worker import Order, check_study
from peftscope.schema.record import RunRecord, Status
from peftscope.schema.run import RunSpec
from peftscope.store.files import ensure_folder, existing_record, write_record
from peftscope.store.running import held, paused_folder
from peftscope.tuning.agenda import Agenda
from peftscope.tuning.checked import Checked
from peftscope.tuning.standing import came_so_far, replay
from peftscope.tuning.start import Start

__all__ = ["FINISHED", "inspect", "is_finished", "launch", "study_held"]

FINISHED: frozenset[Status] = frozenset({"ok", "refused", "diverged"})
"""Statuses that would come out the same again; the others are tried again by a second ``compare``."""
LOOK_S = 0.5
"""How long another process may hold a study's lock just to see whether it is held."""
PATIENCE_S = 0.2
"""How long the user's wish to stop may go unseen."""


@contextmanager
def study_held(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Keep other processes from running the study; where one does, wait until it has ended.

    Raises:
        StoreError: The folder is not writable.
    """
    ensure_folder(folder)
    lock = folder / ".lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(held(lock, timeout_s=LOOK_S))
        except TimeoutError:
            on_wait()
            stack.enter_context(held(lock))
        yield


def inspect(runs: Sequence[RunSpec], folder: Path) -> Checked:
    """Check model and data of a study by one run of each method, and prepare them for all, in a child process.

    Raises:
        PeftscopeError: What is wrong with them; nothing was trained.
    """
    context = warm_up()
    ours, theirs = context.Pipe()
    order = ([run.model_dump_json() for run in runs], folder / "cache", theirs)
    child = context.Process(target=check_study, args=order, daemon=True)
    child.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        child.join()
        raise PeftscopeError(
            f"the check of model and data ended with code {child.exitcode}; what it said last stands above"
        ) from None
    child.join()
    if isinstance(answer, PeftscopeError):
        raise answer
    assert isinstance(answer, Checked)
    return answer


def is_finished(record: RunRecord, quality_protocol: str | None, start: Start) -> bool:
    """Whether a start need not be made: its run came so far already, under the conditions that hold now."""
    if record.quality_protocol != quality_protocol or not came_so_far(record, start):
        return False
    if record.status == "refused" and record.num_starts == 0:  # on a prediction, which may be another by now
        return False
    return record.status in (*FINISHED, "eliminated")


def launch(
    agenda: Agenda,
    folder: Path,
    *,
    checked: Checked,
    share: Share,
    room: Room | None = None,
    listeners: Sequence[Listener] = (),
) -> list[RunRecord]:
    """Make the starts of an agenda that have no finished record yet; gives every run's record, in their order.

    To be called with the study held (``study_held``).

    Args:
        agenda: What to do.
        folder: The study's folder.
        checked: What ``inspect`` found; a record of other conditions is not taken for finished.
        share: How many runs at once, and what each may use.
        room: What fits, and what fits together; None where there is room for everything.
        listeners: Told how the runs get on.

    Raises:
        StoreError: The folder is not writable or the disk is full.
        KeyboardInterrupt: The user stopped it. After a first Ctrl-C runs under way ended after their current step,
            after a second at once; both left records.
    """
    return _Launch(agenda, folder, checked, share, room or Room(), listeners).do()


class _Launch:
    def __init__(
        self,
        agenda: Agenda,
        folder: Path,
        checked: Checked,
        share: Share,
        room: Room,
        listeners: Sequence[Listener],
    ) -> None:
        self.agenda, self.folder, self.checked = agenda, folder, checked
        self.share, self.room, self.listeners = share, room, list(listeners)
        self.children: list[Child] = []
        self.pending: deque[Start] = deque()
        self.order: dict[str, None] = {}
        """Ids of the runs in the order they were offered."""
        self.records: dict[str, RunRecord] = {}
        self.end_reason = "ended with the study, which could not go on"

    def do(self) -> list[RunRecord]:
        recover(self.folder)
        self._ask_agenda()
        runs = {record.run_id: record.spec for record in self.records.values()}
        runs |= {start.run.run_id: start.run for start in self.pending}
        self._foresee()
        self._tell("planned", list(runs.values()), list(self.records.values()), self.share.num_workers)
        try:
            with Interrupts() as interrupts:
                self._work_off(interrupts)
            if interrupts.count:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            self.end_reason = "ended at once by the user"
            raise
        except StoreError as error:
            self.end_reason = f"the study could not go on: {error}"
            raise
        finally:
            self._end_all()
            self._tell("closed")
        shutil.rmtree(paused_folder(self.folder), ignore_errors=True)  # nobody goes on with them any more
        return [self.records[run_id] for run_id in self.order]

    def _ask_agenda(self) -> None:
        """Take up the starts that can be made now, but for those that were made by an earlier call."""
        found, pending = replay(self.agenda, self._done)
        self.records |= found
        self.pending += pending

    def _done(self, start: Start) -> RunRecord | None:
        self.order.setdefault(start.run.run_id)
        record = existing_record(self.folder, start.run.run_id)
        return record if record is not None and is_finished(record, self.checked.quality_protocol, start) else None

    def _foresee(self) -> None:
        self._tell("foreseen", [*self.pending, *self.agenda.foreseen()], self.agenda.num_runs)

    def _work_off(self, interrupts: Interrupts) -> None:
        stopping = False
        while self.children or (self.pending and not stopping):
            if interrupts.count and not stopping:
                stopping = True
                self._tell("stopping")
                for child in self.children:
                    child.ask_to_stop()
            while not stopping and (place := self._place()) is not None:
                start, worker = place
                self.pending.remove(start)
                reason = self.room.refusal(start.run)
                if reason is None:
                    self._start(start, worker)
                else:
                    self._refuse(start.run, reason)
            if self.children:
                self._listen(goes_on=not stopping)

    def _place(self) -> tuple[Start, int] | None:
        """The first start there is room for beside the runs that go on, and the worker that is to do it."""
        going = {child.state.worker: child.run for child in self.children}
        free = sorted(set(range(self.share.num_workers)) - set(going))
        places = ((start, worker) for start in self.pending for worker in free)
        return next((place for place in places if self.room.has(place[0].run, place[1], going)), None)

    def _refuse(self, run: RunSpec, reason: str) -> None:
        """Leave the record of a run that is not tried."""
        record = RunRecord(
            run_id=run.run_id,
            spec=run,
            status="refused",
            reason=reason,
            quality_protocol=self.checked.quality_protocol,
        )
        write_record(self.folder, record)
        self._conclude(run, record, goes_on=True)

    def _start(self, start: Start, worker: int) -> None:
        run = start.run
        order = Order(
            run_json=run.model_dump_json(),
            folder=self.folder,
            log=ensure_folder(self.folder / "logs") / f"{run.run_id}.log",
            kept=self.checked.kept,
            environment=self.share.environment(worker, os.environ.get(self.share.variable or "")),
            num_threads=self.share.num_threads,
            num_workers=self.share.num_workers,
            until=start.until,
        )
        child = Child(run, order, worker)
        self.children.append(child)
        child.start()
        self._tell("started", run, child.state)
        self._foresee()

    def _listen(self, *, goes_on: bool) -> None:
        """Wait for news, pass it on, and take the records of runs that have ended."""
        ready = wait([handle for child in self.children for handle in child.handles], timeout=PATIENCE_S)
        for child in [child for child in self.children if not set(child.handles).isdisjoint(ready)]:
            for state in child.news():
                self._tell("moved", child.run, state)
            if child.has_ended:
                record = child.conclude()
                self.children.remove(child)
                self._conclude(child.run, record, goes_on=goes_on)

    def _conclude(self, run: RunSpec, record: RunRecord, *, goes_on: bool) -> None:
        self.records[record.run_id] = record
        self._tell("ended", run, record)
        if goes_on:
            self.agenda.tell(record)
            self._ask_agenda()
            self._foresee()

    def _end_all(self) -> None:
        for child in self.children:
            with suppress(OSError):  # its state stays on disk, and a later start makes it an attempt
                child.end_now(self.end_reason)

    def _tell(self, event: str, *details: Any) -> None:
        for listener in list(self.listeners):
            try:
                getattr(listener, event)(*details)
            except OSError:  # nobody can be told: a log on a full disk, a terminal that is gone; the runs go on
                self.listeners.remove(listener)
