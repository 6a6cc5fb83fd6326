"""Conversations as token ids with a mask of what is learned.

The text is tokenised as a whole. A border of an answer is exact where the ids of the text up to it begin the ids of
the whole: generation then starts from ids that training saw. Where a token reaches over a border (an answer that begins
with a line break, say), the pieces between borders are tokenised by themselves, as long as they decode to the same
text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from peftscope.errors import DataError
from peftscope.tasks.text.chat_template import ChatTemplate, Rendered
from peftscope.tasks.text.tokens import Encoded, packed
from peftscope.tasks.text.turns import TrainOn, Turn

__all__ = ["encode_chats", "end_ids"]


def encode_chats(
    template: ChatTemplate, chats: Mapping[str, Sequence[Turn]], *, train_on: TrainOn, max_length: int | None
) -> Encoded:
    """Token ids of N conversations, up to the end of the last answer, and which of them are learned.

    Args:
        template: What they are written through.
        chats: Each ends in an answer; by what they are called in messages.
        train_on: ``assistant`` learns every answer, ``last`` the last one, ``all`` every token.
        max_length: Longer sequences are cut off; None cuts nothing.

    Raises:
        DataError: One of them cannot be written, or not with exact borders; names it.
    """
    rows: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    prompt_lengths: list[int] = []
    full_lengths: list[int] = []
    for name, turns in chats.items():
        try:
            ids, starts, ends = _ids(template, template.answers(turns, train_on))
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
        mask = np.zeros(len(ids), dtype=bool)
        for start, end in zip(starts, ends):
            mask[start:end] = True
        if train_on == "all":
            mask[:] = True
        rows.append(np.asarray(ids[:max_length], dtype=np.int32))
        masks.append(mask[:max_length])
        prompt_lengths.append(starts[-1])
        full_lengths.append(len(ids))
    return packed(rows, prompt_lengths, full_lengths, masks)


def end_ids(template: ChatTemplate) -> tuple[int, ...]:
    """Ids that end a turn of the assistant."""
    token = template.end_token
    return () if token is None else (int(template.tokenizer.convert_tokens_to_ids(token)),)


def _ids(template: ChatTemplate, rendered: Rendered) -> tuple[list[int], list[int], list[int]]:
    """Token ids, and where among them each answer starts and ends."""
    tokenizer, text = template.tokenizer, rendered.text
    borders = [at for span in rendered.spans for at in span]
    (whole, *heads) = _plain_ids(tokenizer, [text, *(text[:at] for at in borders[:-1])])
    if any(whole[: len(head)] != head for head in heads):
        whole, heads = _in_pieces(tokenizer, text, borders, whole)
    places = [*map(len, heads), len(whole)]
    if not rendered.is_ended:
        whole = [*whole, tokenizer.eos_token_id]
        places[-1] += 1
    return whole, places[0::2], places[1::2]


def _in_pieces(tokenizer: Any, text: str, borders: list[int], whole: list[int]) -> tuple[list[int], list[list[int]]]:
    pieces = _plain_ids(tokenizer, [text[start:end] for start, end in pairwise([0, *borders])])
    joined: list[int] = []
    heads = []
    for piece in pieces:
        joined = [*joined, *piece]
        heads.append(joined)
    if tokenizer.decode(joined) != tokenizer.decode(whole):
        raise DataError(
            "a token reaches over the border of an answer, and its parts cannot be tokenised by themselves, so that "
            "the assistant's tokens cannot be told exactly; take out white space around the answers"
        )
    return joined, heads[:-1]


def _plain_ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Ids of texts in which special tokens are written out."""
    rows = tokenizer(texts, add_special_tokens=False, padding=False, truncation=False)["input_ids"]
    return [list(ids) for ids in rows]
