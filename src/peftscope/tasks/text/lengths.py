"""Sequences that are longer than there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from peftscope.errors import DataError
from peftscope.tasks.base import Split
from peftscope.tasks.text.examples import TextExample
from peftscope.tasks.text.tokens import Encoded

__all__ = ["check_positions", "cut_notes", "no_room_problem"]


def check_positions(task: str, split: Split, encoded: Encoded, tokenizer: Any) -> None:
    """Refuse sequences the model has no positions for; the tokenizer knows its model's limit.

    Raises:
        DataError: One is longer.
    """
    limit, longest = tokenizer.model_max_length, int(encoded.lengths.max())
    if longest > limit:
        raise DataError(
            f"task {task}: the longest {split} sequence has {longest} tokens, the model takes {limit}; "
            f"set task.max_length: {limit}"
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
