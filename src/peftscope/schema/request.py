"""What a user asks for by name, with every problem in it told at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from peftscope.errors import SpecError, unknown_name

__all__ = ["Request"]


class Request:
    """Collects problems of arguments as they are read.

    Args:
        source: What the problems are of, as the error names it.
        option: How an argument is written where it is asked for: ``max_memory``, or ``--max-memory``.
    """

    def __init__(self, source: str, option: Callable[[str], str] = str) -> None:
        self.source, self.option = source, option
        self.problems: list[str] = []

    def amount(self, name: str, given: str | float | None, read: Callable[[str], float]) -> float | None:
        """An amount as people write it, or a number in the base unit; None where there is none or it is wrong."""
        if given is None or isinstance(given, int | float):
            return given
        try:
            return read(given)
        except ValueError as error:
            self.note(name, str(error))
            return None

    def check(self, name: str, kind: str, given: str, allowed: Collection[str]) -> None:
        """Note a name that there is not."""
        if given not in allowed:
            self.note(name, unknown_name(kind, given, allowed))

    def names(self, name: str, kind: str, given: str | Iterable[str], allowed: Collection[str]) -> list[str]:
        """Names, as a sequence or with commas between."""
        parts = given.split(",") if isinstance(given, str) else given
        names = [part.strip() for part in parts if part.strip()]
        for each in names:
            self.check(name, kind, each, allowed)
        return names

    def note(self, name: str, problem: str) -> None:
        """Note what is wrong with an argument."""
        self.problems.append(f"{self.option(name)}: {problem}")

    def end(self) -> None:
        """Tell what was noted.

        Raises:
            SpecError: With every problem.
        """
        if self.problems:
            raise SpecError(self.source, self.problems)
