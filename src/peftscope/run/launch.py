"""Runs, one after another, each in a child process, so that a crash costs one run and leaves a record.

Children are forked from a parent that has imported everything and done nothing else (``forkserver``).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peftscope.errors import StoreError
from peftscope.spec.base import content_hash
from peftscope.spec.record import Attempt, RunRecord, Status, timestamp
from peftscope.spec.run import RunSpec
from peftscope.store.files import ensure_folder, existing_record, read_record, record_path, write_record

if TYPE_CHECKING:  # it comes with torch, which the process children are forked from imports meanwhile
    from peftscope.plan.preflight import Checked

__all__ = ["FINISHED", "Listener", "finished_record", "launch", "warm_up"]

FINISHED: frozenset[Status] = frozenset({"ok", "refused", "diverged"})
"""Statuses that would come out the same again; the others are tried again by a second ``compare``."""

Listener = Callable[[RunSpec, str, dict[str, Any]], None]
"""Told the run, the stage (``load``, ``train``, …, ``done``) and, while it trains, ``step``, ``loss``, …"""


def launch(
    runs: Sequence[RunSpec], folder: Path, *, on_event: Listener, checked: Checked | None = None
) -> Iterator[RunRecord]:
    """Do the runs that have no finished record yet; yields every run's record in order.

    Args:
        runs: What to do.
        folder: The study's folder.
        on_event: Told how each run gets on.
        checked: What is on disk now; a record of other weights or data is not taken for finished.

    Raises:
        StoreError: The folder is not writable or the disk is full.
        KeyboardInterrupt: Passed on after the run under way was stopped and recorded as ``killed``.
    """
    ensure_folder(folder)
    context = warm_up()
    for run in runs:
        record = finished_record(run, folder, checked)
        if record is None:
            record = _in_child(context, run, folder, on_event)
        on_event(run, "done", {"status": record.status})
        yield record


def warm_up() -> Any:
    """Begin to import in the process children are forked from; gives the ``multiprocessing`` context for them.

    Returns at once: called early, it imports while this process reads the data. Systems without ``forkserver``
    import in every child.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["peftscope.run.execute"])
    # It inherits the mask: Ctrl-C goes to the whole group, and one that is importing would answer with a traceback.
    resource_tracker.ensure_running()  # it would lift the mask when it starts
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


def finished_record(run: RunSpec, folder: Path, checked: Checked | None) -> RunRecord | None:
    """The record of a run that need not be done again; None where there is none, or its files have changed."""
    record = existing_record(folder, run.run_id)
    if record is None or record.status not in FINISHED:
        return None
    if checked is not None and record.data and content_hash(record.data) != content_hash(checked.data):
        return None
    if checked is not None and record.weights_sha256 not in (None, checked.weights_sha256):
        return None
    return record


def _in_child(context: Any, run: RunSpec, folder: Path, on_event: Listener) -> RunRecord:
    started_at, num_before = timestamp(), _num_attempts(run, folder)
    receiver, sender = context.Pipe(duplex=False)
    log = ensure_folder(folder / "logs") / f"{run.run_id}.log"
    child = context.Process(target=_child, args=(run.model_dump_json(), str(folder), str(log), sender), daemon=True)
    child.start()
    sender.close()
    try:
        _listen(child, receiver, run, on_event)
    except KeyboardInterrupt:
        child.terminate()
        child.join(timeout=10)
        if child.is_alive():
            child.kill()
            child.join()
        if _num_attempts(run, folder) == num_before:
            _write_lost(run, folder, started_at, "interrupted by the user")
        raise
    child.join()
    if _num_attempts(run, folder) == num_before:
        return _write_lost(run, folder, started_at, _death_of(child.exitcode, log))
    return read_record(record_path(folder, run.run_id))


def _num_attempts(run: RunSpec, folder: Path) -> int:
    """Attempts on record: a child that has written its record has added one, however it ended after that."""
    record = existing_record(folder, run.run_id)
    return 0 if record is None else len(record.attempts)


def _listen(child: Any, receiver: Connection, run: RunSpec, on_event: Listener) -> None:
    """Pass events on until the child ends.

    Raises:
        StoreError: The child could not write.
    """
    while True:
        ready = wait([receiver, child.sentinel])
        if receiver in ready:
            try:
                kind, payload = receiver.recv()
            except EOFError:
                return
            if kind == "store-error":
                raise StoreError(payload["message"])
            on_event(run, kind, payload)
        elif child.sentinel in ready:
            return


def _child(run_json: str, folder: str, log: str, sender: Connection) -> None:
    """One run in its own process; output of libraries goes to the run's log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    from peftscope.run.execute import execute
    from peftscope.train.loop import Progress

    def tell(stage: str, progress: Progress | None) -> None:
        try:
            sender.send((stage, {} if progress is None else vars(progress)))
        except BrokenPipeError:  # the parent is gone; whoever starts it again does this run anew
            sys.exit(1)

    try:
        write_record(Path(folder), execute(RunSpec.model_validate_json(run_json), Path(folder), on_event=tell))
    except StoreError as error:
        sender.send(("store-error", {"message": str(error)}))


def _write_lost(run: RunSpec, folder: Path, started_at: str, reason: str) -> RunRecord:
    """The record of a run whose process ended before it could write one."""
    attempt = Attempt(started_at=started_at, ended_at=timestamp(), status="killed", reason=reason)
    record = RunRecord(run_id=run.run_id, spec=run, status="killed", reason=reason, attempts=(attempt,))
    return read_record(write_record(folder, record))


def _death_of(exit_code: int | None, log: Path) -> str:
    if exit_code is not None and exit_code < 0:
        known = -exit_code in set(signal.Signals)
        name = signal.Signals(-exit_code).name if known else f"signal {-exit_code}"
        cause = "; out of memory is the usual cause" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{cause}"
    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:] if log.exists() else []
    return f"the process ended with code {exit_code}: {' | '.join(tail)}"
