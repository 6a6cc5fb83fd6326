"""The process that counts a plan: one request on its input, lines of JSON on its output, and limits on what it takes.

A config that is sent may be made to take all memory or to count for ever. So it is read in a process of its own, with
those it starts in a group that the server ends as a whole; and should the server be gone, the process ends the group
by itself.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

__all__ = ["main"]

GIB = 2**30
MOST_BYTES = 6 * GIB
LIMITS = {"RLIMIT_DATA": MOST_BYTES, "RLIMIT_CPU": 1_200, "RLIMIT_FSIZE": GIB // 16, "RLIMIT_CORE": 0}
"""Of each process: bytes of memory, seconds of work, bytes of a file it writes."""


def main(workers: int) -> None:
    """Wait for a request, answer it, end."""
    limit_resources()
    lines = _own_output()
    from peftscope.study.plan_lines import plan_lines, sentence  # what counts takes seconds to import

    if workers > 1:
        from peftscope.execution.executors.forking import warm_up

        warm_up()
    given, folder = sys.stdin.buffer.readline(), Path.cwd()
    if not given:  # the server is gone
        shutil.rmtree(folder, ignore_errors=True)
        return
    threading.Thread(target=_end_with_server, args=(folder,), daemon=True).start()
    from peftscope.capture import capture
    from peftscope.errors import PeftscopeError
    from peftscope.study.plan_request import PlanRequest

    def tell() -> None:
        asked = PlanRequest(**json.loads(given))
        try:
            for line in plan_lines(asked, folder, workers=workers):
                _tell(lines, line)
        except PeftscopeError as error:
            _tell(lines, {"error": {"message": sentence(error, asked)}})

    failure = capture(tell)
    if failure is not None:
        _tell(lines, {"error": {"message": _in_words(failure.status, failure.reason)}})


def limit_resources() -> None:
    """Limit what this process and those it starts may take, where the system has such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, most in LIMITS.items():
        with suppress(ValueError, OSError):  # lower ones that are set stay
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))


def _in_words(status: str, reason: str) -> str:
    if status == "oom":
        return f"counting it takes more than the {LIMITS['RLIMIT_DATA'] // GIB} GiB of memory it may have here"
    return f"it cannot be counted: {reason[:500]}"


def _own_output() -> IO[str]:
    """The pipe to the server; what libraries print goes nowhere, and no process started from here holds it."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return lines


def _tell(lines: IO[str], line: Mapping[str, Any]) -> None:
    lines.write(json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")
    lines.flush()


def _end_with_server(folder: Path) -> None:
    """Once the input is closed nobody waits: end this process and those it has started."""
    while os.read(0, 4096):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    if hasattr(os, "killpg") and os.getpgid(0) == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
