"""Sequences that are longer than there is room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from peftscope.errors import DataError
from peftscope.tasks.base import Split
from peftscope.tasks.text.examples import TextExample
from peftscope.tasks.text.options import LanguageOptions
from peftscope.tasks.text.tokens import Encoded, packed

__all__ = ["check_fits_model", "cut_notes", "fit", "in_pieces", "no_room_problem"]

Encode = Callable[[Sequence[TextExample], int | None], Encoded]
"""Examples as token ids, cut off at a number of tokens, if any."""


def fit(
    examples: Sequence[TextExample], encode: Encode, *, split: Split, room: int, options: LanguageOptions
) -> tuple[Sequence[TextExample], Encoded, list[str]]:
    """The examples of a split within the limits of length: their token ids, and what was dropped, parted or cut off.

    Args:
        examples: All of the split.
        encode: Makes token ids of them.
        split: Which it is; rows are parted or left out in training alone.
        room: Tokens that a prompt must stay below.
        options: The task's.

    Raises:
        DataError: A prompt leaves no room for an answer, or none is left.
    """
    if not examples:
        raise DataError(f"the {split} split is empty")
    encoded = encode(examples, options.max_length)
    has_room = encoded.prompt_lengths < room
    if not has_room.all():
        problem = no_room_problem(split, examples, encoded, room)
        if options.long_prompts == "refuse":
            raise DataError(f"{problem}; raise task.max_length (and max_generation_length), or set long_prompts: drop")
        kept = [example for example, fits in zip(examples, has_room) if fits]
        examples, encoded, notes = fit(kept, encode, split=split, room=room, options=options)
        return examples, encoded, [f"dropped: {problem}", *notes]
    if not encoded.num_cut:
        return examples, encoded, []
    if split != "train" or options.long_rows == "cut":
        return examples, encoded, cut_notes(split, encoded, options.max_length)
    if options.long_rows == "split":
        notes = cut_notes(split, encoded, options.max_length, "were parted into several")
        return *in_pieces(examples, encode(examples, None), options.max_length), notes
    notes = cut_notes(split, encoded, options.max_length, "were left out")
    kept = [example for example, fits in zip(examples, encoded.full_lengths == encoded.lengths) if fits]
    examples, encoded, more = fit(kept, encode, split=split, room=room, options=options)
    return examples, encoded, [*notes, *more]


def in_pieces(examples: Sequence[TextExample], encoded: Encoded, max_length: int) -> tuple[list[TextExample], Encoded]:
    """Long sequences parted. A piece begins with the last token of the one before, so that each token but the first
    of a sequence is learned once; a piece without a token to learn is left out.

    Args:
        examples: N of them.
        encoded: Theirs, nothing cut off.
        max_length: Most tokens of a piece, at least 2.

    Returns:
        An example for each piece, those after the first numbered, and their token ids.
    """
    parted: list[TextExample] = []
    ids: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    prompt_lengths: list[int] = []
    for index, example in enumerate(examples):
        whole, mask = encoded[index], encoded.mask(index)
        pieces = range(0, max(1, len(whole) - 1), max_length - 1)
        for number, start in enumerate(pieces, start=1):
            learned = mask[start : start + max_length]
            if len(pieces) > 1 and not learned[1:].any():
                continue
            name = example.example_id if number == 1 else f"{example.example_id}.{number}"
            parted.append(replace(example, example_id=name))
            ids.append(whole[start : start + max_length])
            masks.append(learned)
            prompt_lengths.append(max(0, int(encoded.prompt_lengths[index]) - start))
    return parted, packed(ids, prompt_lengths, [len(piece) for piece in ids], masks)


def check_fits_model(split: Split, encoded: Encoded, tokenizer: Any, longest_answered: int | None) -> None:
    """Refuse sequences the model has no positions for, and token ids it has no embedding for.

    Args:
        split: Which it is.
        encoded: Its sequences.
        tokenizer: Knows its model's limits.
        longest_answered: Tokens of the longest prompt with its answer; None where nothing is answered.

    Raises:
        DataError: A sequence is too long, or tokenizer and model do not belong together.
    """
    limit, longest = tokenizer.model_max_length, int(encoded.lengths.max())
    if longest > limit:
        raise DataError(
            f"the longest {split} sequence has {longest} tokens, the model takes {limit}; set task.max_length: {limit}"
        )
    places = getattr(tokenizer, "num_positions", None)
    if places is not None and longest_answered is not None and longest_answered > places:
        raise DataError(
            f"the longest {split} prompt and its answer may have {longest_answered} tokens, and the model has "
            f"{places} positions; set task.max_generation_length: {places}"
        )
    rows, highest = getattr(tokenizer, "num_embeddings", None), int(encoded.ids.max())
    if rows is not None and highest >= rows:
        raise DataError(
            f"the {split} split has token id {highest}, and the model's embedding has {rows} rows: tokenizer and model "
            "do not belong together"
        )


def no_room_problem(split: Split, examples: Sequence[TextExample], encoded: Encoded, room: int) -> str:
    """How many prompts leave no room for an answer, and which is the longest."""
    lengths = encoded.prompt_lengths
    longest = int(np.argmax(lengths))
    return (
        f"{int((lengths >= room).sum())} of {len(examples)} {split} prompts leave no room for an answer "
        f"within {room} tokens (longest: {examples[longest].example_id} with {lengths[longest]})"
    )


def cut_notes(
    split: Split, encoded: Encoded, limit: int, what: str = "were cut off; they have no end-of-sequence label"
) -> list[str]:
    """What to say of sequences that are longer than they may be."""
    if not encoded.num_cut:
        return []
    return [f"{encoded.num_cut} of {len(encoded)} {split} sequences are longer than {limit} tokens and {what}"]
