"""A value with its interval; how one is found stands in ``crossed`` (scores) and ``pairs`` (differences)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LEVEL", "Estimate"]

LEVEL = 0.95
"""Of intervals where nothing else is asked for."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; ``low`` and ``high`` are None where the data give none."""

    value: float
    low: float | None
    high: float | None

    @property
    def interval(self) -> list[float] | None:
        """Both ends, or None."""
        return None if self.low is None or self.high is None else [self.low, self.high]

    def shares_much_with(self, other: Estimate) -> bool:
        """Whether the two intervals have half of the shorter one in common; never without intervals."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        shared = min(self.high, other.high) - max(self.low, other.low)
        return shared >= 0.5 * min(self.high - self.low, other.high - other.low)
