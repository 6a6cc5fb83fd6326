"""What a language task is made of before it is tokenised: prompts and answers in three splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from peftscope.tasks.base import Split
from peftscope.tasks.text.turns import Turn

__all__ = ["SPLITS", "Prepared", "TextExample"]

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class TextExample:
    """A prompt, the answer to learn, and what an answer is scored against."""

    example_id: str
    prompt: str
    target: str
    solution: str
    """What a generated answer is compared with; the target itself where nothing else is."""
    group: str | None = None
    """What it shares with other examples, such as a document; None where it stands for itself."""
    turns: tuple[Turn, ...] = ()
    """The conversation it is a part of, up to the answer to learn; empty where prompt and target are all."""
    extra: dict[str, Any] = field(default_factory=dict)
    """More to show; JSON values where the task is to be kept."""

    def conversation(self, system: str | None) -> tuple[Turn, ...]:
        """The example as turns; with the system prompt, where one is given and it has none of its own."""
        turns = self.turns or (Turn("user", self.prompt), Turn("assistant", self.target))
        return turns if system is None or turns[0].role == "system" else (Turn("system", system), *turns)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The splits of a task, and what a user should know about how they were made."""

    splits: Mapping[Split, Sequence[TextExample]]
    notes: tuple[str, ...] = ()
