"""Chat templates: conversations as text, and which characters of it are the assistant's.

What the assistant says begins where the text ends that generation would start from: the turns before it, rendered and
opened for an answer. It ends with the template's own end of turn, the first special token after it. Both are found by
rendering the turns up to there, so that templates without generation marks have exact borders, too. Some templates
write earlier turns in another way once later ones follow (thoughts taken out, say); then what was said is looked up in
the whole text, between what must stand before it and after. Where neither is exact the conversation is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError

from peftscope.errors import DataError
from peftscope.models.kinds.causal_lm.prompts import adds_bos
from peftscope.tasks.text.turns import TrainOn, Turn

__all__ = ["ChatTemplate", "Rendered", "chat_template_for", "how_written"]

Span = tuple[int, int]

PLAIN = (
    "{% for turn in messages %}"
    "{% if turn['role'] == 'system' %}{{ turn['content'] + '\\n\\n' }}"
    "{% elif turn['role'] == 'user' %}{{ 'User: ' + turn['content'] + '\\n' }}"
    "{% else %}{{ 'Assistant: ' + turn['content'] + eos_token + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""How turns are written for a model without a template of its own."""
SENTINEL = "\u27e6answer\u27e7"


@dataclass(frozen=True)
class Rendered:
    """A conversation as text, up to the end of its last answer."""

    text: str
    spans: tuple[Span, ...]
    """Start and end of each answer in it, the end of turn included where the template has one."""
    is_ended: bool
    """Whether the last answer has an end of turn; otherwise the tokenizer's EOS is to follow."""


class ChatTemplate:
    """A chat template with its tokenizer.

    Args:
        tokenizer: The base model's.
        source: Jinja text of the template.
        name: How it is told: ``the model's``, ``plain turns`` or where it comes from.
    """

    def __init__(self, tokenizer: Any, source: str, name: str) -> None:
        self.tokenizer, self.source, self.name = tokenizer, source, name

    @property
    def fingerprint(self) -> str:
        """Hash of the template's text."""
        return sha256(self.source.encode()).hexdigest()[:16]

    @cached_property
    def end_token(self) -> str | None:
        """What ends a turn of the assistant; None where no special token does."""
        rendered = self.render([Turn("user", "a"), Turn("assistant", SENTINEL)])
        return self._first_special(rendered.partition(SENTINEL)[2])

    def render(self, turns: Sequence[Turn], *, opened: bool = False) -> str:
        """Turns as text.

        Args:
            turns: At least one.
            opened: Whether the assistant's next turn begins at the end.

        Raises:
            DataError: The template refuses them; says why.
        """
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            text = self.tokenizer.apply_chat_template(
                messages, chat_template=self.source, tokenize=False, add_generation_prompt=opened
            )
        except (TemplateError, TypeError, KeyError, ValueError) as error:
            raise DataError(f"the chat template ({self.name}) refuses these turns: {error}") from None
        return str(text)

    def answers(self, turns: Sequence[Turn], train_on: TrainOn) -> Rendered:
        """A conversation that ends in an answer, and where its answers stand.

        Args:
            turns: The last one is the assistant's.
            train_on: ``last`` looks for the last answer alone.

        Raises:
            DataError: The template refuses the turns, or the borders of an answer cannot be found exactly.
        """
        assert turns[-1].role == "assistant", "a conversation to learn from ends in an answer"
        whole = self.render(turns)
        at = [i for i, turn in enumerate(turns) if turn.role == "assistant"]
        if train_on == "last":
            at = at[-1:]
        spans = tuple(self._span(turns, i, whole) for i in at)
        end = spans[-1][1]
        ended = self._first_special(whole[spans[-1][0] : end]) is not None
        return Rendered(text=whole[:end], spans=spans, is_ended=ended)

    def _span(self, turns: Sequence[Turn], index: int, whole: str) -> Span:
        content = turns[index].content.strip()
        before = self.render(turns[:index], opened=True) if index else ""
        so_far = self.render(turns[: index + 1])
        if whole.startswith(so_far) and so_far.startswith(before):
            at = so_far.find(content, len(before))
            if at >= 0:
                return len(before), self._end(whole, at + len(content))
        return self._looked_up(turns, index, whole, before)

    def _looked_up(self, turns: Sequence[Turn], index: int, whole: str, before: str) -> Span:
        """Where an answer stands that is written in another way once later turns follow."""
        content = turns[index].content.strip()
        marked = [replace(t, content=SENTINEL) if i == index else t for i, t in enumerate(turns)]
        head, found, tail = self.render(marked).partition(SENTINEL)
        opening = _after_common_start(before, self.render(turns[:index])) if index else ""
        if not found or whole != head + content + tail or not head.endswith(opening):
            raise DataError(
                f"the chat template ({self.name}) writes turn {index + 1} in another way than generation starts from, "
                "so that the assistant's tokens cannot be told exactly; set train_on: last, or give another "
                "chat_template"
            )
        return len(head), self._end(whole, len(head) + len(content))

    def _end(self, whole: str, end_of_content: int) -> int:
        """The end of the end of turn that follows what was said."""
        tail = whole[end_of_content:]
        special = self._first_special(tail)
        if special is None:
            return end_of_content
        return end_of_content + tail.index(special) + len(special)

    def _first_special(self, text: str) -> str | None:
        """The special token that comes first in a text."""
        found = {token: at for token in self._specials if (at := text.find(token)) >= 0}
        return min(found, key=lambda token: (found[token], -len(token))) if found else None

    @cached_property
    def _specials(self) -> tuple[str, ...]:
        added = [str(token) for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        return tuple(dict.fromkeys([*self.tokenizer.all_special_tokens, *added]))


def chat_template_for(setting: str, tokenizer: Any, *, has_turns: bool) -> ChatTemplate | None:
    """The template that examples are written through; None where they are plain text.

    Args:
        setting: ``auto``, ``none``, ``model``, or a template of one's own: its text, or the path of a file with it.
        tokenizer: The base model's.
        has_turns: Whether the data are conversations, which need some template.

    Raises:
        DataError: There is no such template, or the data need one.
    """
    own = _own(tokenizer)
    if setting == "none":
        if has_turns:
            raise DataError("chat_template: none, but the rows are conversations, which need one")
        return None
    if setting == "model":
        if own is None:
            raise DataError("chat_template: model, but the model's tokenizer has none; give one, or leave it out")
        return ChatTemplate(tokenizer, own, "the model's")
    if setting != "auto":
        return ChatTemplate(tokenizer, *_given(setting))
    if own is not None and (has_turns or is_for_chat(tokenizer, own)):
        return ChatTemplate(tokenizer, own, "the model's")
    return ChatTemplate(tokenizer, plain_template(tokenizer), "plain turns") if has_turns else None


def how_written(setting: str, chosen: ChatTemplate | None, tokenizer: Any) -> list[str]:
    """What to say of how prompts are written for a model; nothing of a base model's plain text."""
    if chosen is not None:
        return [f"prompts are written through a chat template: {chosen.name}"]
    own = _own(tokenizer)
    if setting == "none" and own is not None and is_for_chat(tokenizer, own):
        return [
            "the model was trained to give its answers through its chat template, and chat_template: none trains and "
            "scores it without"
        ]
    return []


def is_for_chat(tokenizer: Any, source: str) -> bool:
    """Whether a model ends its answers as its template ends a turn: base models have templates, too."""
    try:
        end = ChatTemplate(tokenizer, source, "the model's").end_token
    except DataError:
        return False
    ends = {tokenizer.eos_token_id, *getattr(tokenizer, "listed_ends", ())}
    return end is not None and tokenizer.convert_tokens_to_ids(end) in ends


def plain_template(tokenizer: Any) -> str:
    """The template for a model without one; it begins with the BOS that the tokenizer adds to other text."""
    return ("{{ bos_token }}" if adds_bos(tokenizer) else "") + PLAIN


def _own(tokenizer: Any) -> str | None:
    """The tokenizer's chat template; of several the default one."""
    own: Any = getattr(tokenizer, "chat_template", None)
    return own.get("default") if isinstance(own, dict) else own


def _after_common_start(text: str, other: str) -> str:
    """The part of a text after what another begins with as well."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, other)))
    return text[same:]


def _given(setting: str) -> tuple[str, str]:
    if "{" in setting:
        return setting, "the study's"
    path = Path(setting).expanduser()
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"chat_template: {setting!r} is neither auto, none nor model, nor a template, nor a file that can be read "
            f"({error})"
        ) from None
