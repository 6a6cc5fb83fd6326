"""Conversations as people write them: ``messages`` of role and content, ShareGPT's ``from`` and ``value``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from peftscope.errors import DataError

__all__ = ["Role", "TrainOn", "Turn", "holds_turns", "plain_text", "turns_of"]

Role = Literal["system", "user", "assistant"]
TrainOn = Literal["assistant", "last", "all"]
"""What is learned: every answer, the last one, or every token."""

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
TOOLS = ("tool", "function", "function_call", "function_response", "observation", "ipython")
WAYS = (("role", "content"), ("from", "value"))
"""Names of who speaks and of what is said."""


@dataclass(frozen=True)
class Turn:
    """What one side says."""

    role: Role
    content: str


def holds_turns(value: Any) -> bool:
    """Whether a cell holds a conversation, as a list or as JSON text of one.

    >>> holds_turns([{"role": "user", "content": "Hi"}]), holds_turns('[{"from": "human", "value": "Hi"}]')
    (True, True)
    """
    turns = _listed(value)
    return bool(turns) and all(
        isinstance(turn, Mapping) and any(who in turn for who, _ in WAYS) for turn in turns or ()
    )


def turns_of(value: Any, where: str) -> tuple[Turn, ...]:
    """The turns of a cell.

    Args:
        value: A list of turns, or JSON text of one.
        where: File, row and column, for messages.

    Raises:
        DataError: It holds no conversation, or one with tools, pictures or an unknown speaker in it.
    """
    found = _listed(value)
    if not found:
        raise DataError(f"{where} holds no turns; a list of {{role, content}} or {{from, value}} is needed")
    return tuple(_turn(turn, f"{where}: turn {number}") for number, turn in enumerate(found, start=1))


def plain_text(turns: Sequence[Turn]) -> str:
    """Turns as a person would read them; the only turn's text where it is the user's alone.

    >>> plain_text([Turn("system", "Be short."), Turn("user", "Hi")])
    'system: Be short.\\nuser: Hi'
    """
    if len(turns) == 1 and turns[0].role == "user":
        return turns[0].content
    return "\n".join(f"{turn.role}: {turn.content}" for turn in turns)


def _listed(value: Any) -> list[Any] | None:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else None


def _turn(turn: Any, where: str) -> Turn:
    if not isinstance(turn, Mapping):
        raise DataError(f"{where} is a {type(turn).__name__}; an object with role and content is needed")
    who, what = next((way for way in WAYS if way[0] in turn), WAYS[0])
    speaker = str(turn.get(who, ""))
    role = ROLES.get(speaker.lower())
    if speaker.lower() in TOOLS or turn.get("tool_calls") or turn.get("function_call"):
        raise DataError(f"{where}: tool calls are not learned; take these conversations out")
    if role is None:
        known = ", ".join(ROLES)
        raise DataError(f"{where}: {who} {speaker!r} is no speaker we know; allowed are {known}")
    return Turn(role, _content(turn.get(what), f"{where}: {what}"))


def _content(content: Any, where: str) -> str:
    """The text of a turn, which may come in parts."""
    if isinstance(content, str):
        return content
    if content is None:
        raise DataError(f"{where} is empty")
    if not isinstance(content, Sequence):
        raise DataError(f"{where} holds a {type(content).__name__}, text is needed")
    texts = []
    for part in content:
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        text = part.get("text") if isinstance(part, Mapping) else part
        if kind != "text" or not isinstance(text, str):
            raise DataError(f"{where}: a part of type {kind!r}; only text is learned, so take pictures and sounds out")
        texts.append(text)
    return "".join(texts)
