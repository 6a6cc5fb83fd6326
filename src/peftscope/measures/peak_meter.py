"""Memory peaks of a stretch of a run: the accelerator's own counters, or the process's memory, sampled."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import torch

from peftscope.models.device import memory_peaks, reset_memory_peaks

__all__ = ["PeakMeter", "anonymous_bytes"]


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


class PeakMeter:
    """Context that keeps the memory peaks of what runs inside it, stretches between pause and resume left out.

    Args:
        device: Where the model is. On an accelerator with counters these are read; elsewhere the process's
            anonymous memory is sampled from a thread.
        interval_s: Seconds between samples; peaks shorter than that can be missed.

    Attributes:
        allocated_bytes: Held by live tensors on the accelerator; None without counters.
        reserved_bytes: Held by the allocator on the accelerator; None without counters.
        sampled_bytes: Largest sample; None with counters.
    """

    def __init__(self, device: torch.device, interval_s: float = 0.05) -> None:
        self.device = device
        self.interval_s = interval_s
        self.allocated_bytes: int | None = None
        self.reserved_bytes: int | None = None
        self.sampled_bytes: int | None = None
        self._running = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.resume()
        if memory_peaks(self.device) is None:
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def resume(self) -> None:
        """Begin a stretch that counts."""
        reset_memory_peaks(self.device)
        self._running = True
        self._take()

    def pause(self) -> None:
        """End the stretch; what follows does not count."""
        if self._running:
            self._take()
        self._running = False

    def _take(self) -> None:
        peaks = memory_peaks(self.device)
        if peaks is None:
            self.sampled_bytes = max(self.sampled_bytes or 0, anonymous_bytes())
        else:
            self.allocated_bytes = max(self.allocated_bytes or 0, peaks.allocated_bytes)
            self.reserved_bytes = max(self.reserved_bytes or 0, peaks.reserved_bytes)

    def _sample(self) -> None:
        while not self._stop.wait(self.interval_s):
            if self._running:
                self._take()
