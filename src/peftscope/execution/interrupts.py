"""Ctrl-C or SIGTERM once ends what is under way cleanly, twice ends it now."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

__all__ = ["Interrupts"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Counts the user's wishes to stop while it is entered; the second one raises ``KeyboardInterrupt`` on the spot.

    Python hands signals to the main thread alone; in another one this does nothing.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first: float | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def age_s(self) -> float:
        """Seconds since the first wish; 0 while there is none."""
        return 0.0 if self._first is None else time.monotonic() - self._first

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self._first = self._first or time.monotonic()
        if self.count > 1:
            raise KeyboardInterrupt
