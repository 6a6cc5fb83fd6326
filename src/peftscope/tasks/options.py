"""What the options of every task have in common. No torch here: a study is checked in milliseconds."""

from __future__ import annotations

from typing import ClassVar

from peftscope.schema.base import Frozen

__all__ = ["TaskOptions"]


class TaskOptions(Frozen):
    """A task's own options; the base of every task's options model."""

    places: ClassVar[frozenset[str]] = frozenset()
    """Options that say where data lies; in fingerprints the hash of the content stands for them."""

    @property
    def longest(self) -> int | None:
        """Length of the longest training sample, in the unit of the kind of model; None where data alone can tell."""
        return None

    @property
    def scored_at_once(self) -> int | None:
        """Examples of that length that are scored at once; None where data alone can tell."""
        return None
