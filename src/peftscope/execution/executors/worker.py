"""The child's side: one run, or the study's check, in a process of its own.

A child ends when its parent does: it holds one end of a connection, and a thread that waits at it sees the other
end close, however the parent ended.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from peftscope.errors import PeftscopeError, Stopped, StoreError
from peftscope.schema.record import STOPPED_BY_USER
from peftscope.schema.run import RunSpec
from peftscope.store.files import write_record
from peftscope.store.run_states import run_lock

__all__ = ["Order", "check_study", "do_run"]

ALONE = 3
"""Exit code of a child whose parent has ended."""
FIRST_TO_GO = "500"
"""On Linux, what makes the system take a run before the process that started it when memory runs out."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a child is told."""

    run_json: str
    folder: Path
    log: Path
    base: Path
    """Where relative paths are taken from: the working folder while it runs."""
    cached: Path | None
    """Where the task's data lie prepared."""
    environment: Mapping[str, str]
    """Variables to set: threads and device."""
    num_threads: int
    num_workers: int
    until: int | None = None
    """Rung at which a trial is to pause; None goes to the end."""


def do_run(order: Order, connection: Connection) -> None:
    """Do a run and write its record; output of libraries goes to the run's log."""
    stop = _live_with_parent(connection)
    run = RunSpec.model_validate_json(order.run_json)

    def tell(stage: str, news: Mapping[str, Any]) -> None:
        if stop.is_set():
            raise Stopped(STOPPED_BY_USER)
        try:
            connection.send((stage, dict(news)))
        except OSError:  # the parent is gone, and the watching thread a moment late
            os._exit(ALONE)

    try:
        with run_lock(order.folder, run.run_id):
            _set_up(order)
            _enter(order.base)
            from peftscope.execution.execute import execute

            record = execute(
                run,
                order.folder,
                on_event=tell,
                cached=order.cached,
                num_workers=order.num_workers,
                until=order.until,
            )
            write_record(order.folder, record)
    except StoreError as error:
        connection.send(("store-error", {"message": str(error)}))
    except TimeoutError as error:
        message = f"{error}: an earlier process of this run does not end; end it"
        connection.send(("store-error", {"message": message}))


def check_study(runs_json: Sequence[str], cache: Path, base: Path, connection: Connection) -> None:
    """Check a study's model and data and prepare them; sends what was found, or what is wrong."""
    _live_with_parent(connection)
    from peftscope.tuning.preflight import check

    try:
        _enter(base)
        connection.send(check([RunSpec.model_validate_json(run) for run in runs_json], cache))
    except PeftscopeError as error:
        connection.send(error)


def _enter(base: Path) -> None:
    """Make the folder that relative paths are taken from the working folder."""
    try:
        os.chdir(base)
    except OSError as error:
        raise StoreError(f"{base}: the study's folder cannot be entered ({error.strerror or error})") from error


def _live_with_parent(connection: Connection) -> threading.Event:
    """End when the parent does; gives what is set when the parent asks to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they reach the whole group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    stop = threading.Event()

    def watch() -> None:
        with suppress(EOFError, OSError):
            while True:
                connection.recv()
                stop.set()
        os._exit(ALONE)  # nobody is left to tell; a later start does this run anew

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
    return stop


def _set_up(order: Order) -> None:
    try:
        with open(order.log, "ab", buffering=0) as file:
            os.dup2(file.fileno(), sys.stdout.fileno())
            os.dup2(file.fileno(), sys.stderr.fileno())
    except OSError as error:
        raise StoreError(f"{order.log}: cannot be written ({error.strerror or error})") from error
    faulthandler.enable(all_threads=False)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    os.environ.update(order.environment)
    import torch

    torch.set_num_threads(order.num_threads)
