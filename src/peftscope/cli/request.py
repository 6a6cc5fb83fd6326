"""What a user asks a command for, with every problem in it told at once."""

from __future__ import annotations

from collections.abc import Callable, Collection

from peftscope.errors import SpecError, unknown_name

__all__ = ["Request"]


class Request:
    """Collects problems of options as they are read.

    Args:
        source: What the problems are of, as the error names it.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[str] = []

    def amount(self, option: str, text: str | None, read: Callable[[str], float]) -> float | None:
        """An amount as people write it; None where it was not given or cannot be read."""
        if text is None:
            return None
        try:
            return read(text)
        except ValueError as error:
            self.problems.append(f"{option}: {error}")
            return None

    def check(self, option: str, kind: str, name: str, allowed: Collection[str]) -> None:
        """Note a name that there is not."""
        if name not in allowed:
            self.problems.append(f"{option}: {unknown_name(kind, name, allowed)}")

    def names(self, option: str, kind: str, text: str, allowed: Collection[str]) -> list[str]:
        """Names with commas between."""
        names = [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            self.check(option, kind, name, allowed)
        return names

    def end(self) -> None:
        """Tell what was noted.

        Raises:
            SpecError: With every problem.
        """
        if self.problems:
            raise SpecError(self.source, self.problems)
