"""Why a process ended that left no record."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from peftscope.schema.record import Status

__all__ = ["exit_reason", "log_tail", "num_oom_kills"]

WITHOUT_WARM_PROCESS = 255
"""What ``multiprocessing`` gives for a process whose end nobody has seen."""
OOM_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))
"""Where Linux counts the processes it killed for want of memory: the container's, else the machine's."""


def num_oom_kills(counters: tuple[Path, ...] = OOM_COUNTERS) -> int | None:
    """Processes the system has killed for want of memory so far; None where it does not say."""
    for path in counters:
        try:
            found = re.search(r"^oom_kill (\d+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        except OSError:
            continue
        if found is not None:
            return int(found.group(1))
    return None


def exit_reason(exit_code: int | None, kills_before: int | None, kills_now: int | None) -> tuple[Status, str]:
    """Status and reason for a run whose process ended without a record.

    Args:
        exit_code: Of the process; below 0 it is a signal's number.
        kills_before: ``num_oom_kills`` when the run started.
        kills_now: The same now.

    >>> exit_reason(-11, None, None)
    ('killed', 'the process was ended by SIGSEGV')
    >>> exit_reason(-9, 3, 4)
    ('oom', 'the system ended the process for want of memory')
    """
    if exit_code == WITHOUT_WARM_PROCESS:
        return "killed", "the process runs are forked from was ended, and this run with it"
    if exit_code is None or exit_code >= 0:
        return "killed", f"the process ended with code {exit_code}"
    known = -exit_code in set(signal.Signals)
    name = signal.Signals(-exit_code).name if known else f"signal {-exit_code}"
    if name != "SIGKILL":
        return "killed", f"the process was ended by {name}"
    if kills_before is not None and kills_now is not None:
        if kills_now > kills_before:
            return "oom", "the system ended the process for want of memory"
        return "killed", "the process was ended by SIGKILL, not for want of memory"
    return "killed", "the process was ended by SIGKILL; out of memory is the usual cause"


def log_tail(log: Path, start: int, num_lines: int = 30) -> str | None:
    """What a crash has left in a run's log: from Python's own report on, or the last lines; None where it is empty.

    Args:
        log: The log; earlier starts of the run have written to it, too.
        start: Where this start's part begins, in bytes.
        num_lines: Most lines given.
    """
    try:
        with log.open("rb") as file:
            file.seek(start)
            lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return None
    report = next((i for i, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
    kept = lines[-num_lines:] if report is None else lines[report : report + num_lines]
    return "\n".join(kept) or None
