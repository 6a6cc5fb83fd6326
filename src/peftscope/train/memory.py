"""Process memory, sampled: the secondary memory figure, and the plausibility check of the primary one."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

__all__ = ["ProcessMemory", "anonymous_bytes"]


def anonymous_bytes() -> int:
    """Anonymous resident memory of this process, in bytes (all resident memory where the system has no such figure).

    Anonymous memory leaves out mapped weight files, which the system may drop at any time.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)


class ProcessMemory:
    """Context that samples the process's anonymous memory from a thread and keeps the peak.

    Args:
        interval_s: Seconds between samples; peaks shorter than that can be missed.

    Attributes:
        peak_bytes: Largest sample.
    """

    def __init__(self, interval_s: float = 0.05) -> None:
        self.interval_s = interval_s
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self.peak_bytes = anonymous_bytes()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.peak_bytes = max(self.peak_bytes, anonymous_bytes())

    def _sample(self) -> None:
        while not self._stop.wait(self.interval_s):
            self.peak_bytes = max(self.peak_bytes, anonymous_bytes())
