"""Targets as a tokenizer gives them back: answers are decoded, so they are compared with a decoded target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from peftscope.tasks.splits import same_key
from peftscope.tasks.text.examples import TextExample
from peftscope.tasks.text.rows import listed_rows
from peftscope.tasks.text.tokens import Encoded

__all__ = ["as_decoded"]


def as_decoded(
    examples: Sequence[TextExample], encoded: Encoded, tokenizer: Any, *, split: str
) -> tuple[list[TextExample], list[str]]:
    """Examples with their targets as they come back from the tokenizer, and what to say of those it cannot write.

    A tokenizer may change case, accents or white space; then no answer could equal the target as it was given. What it
    loses altogether is left as it is, and told: no answer can hold it.

    Args:
        examples: Of one split.
        encoded: Their token ids.
        tokenizer: The base model's.
        split: Its name, for the notes.
    """
    found, lost = [], []
    for index, example in enumerate(examples):
        if encoded.full_lengths[index] > len(encoded[index]):  # cut off: its end is not there
            found.append(example)
            continue
        tail = encoded[index][int(encoded.prompt_lengths[index]) :].tolist()
        decoded = tokenizer.decode(tail, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
        if same_key(decoded) == same_key(example.solution):
            found.append(replace(example, solution=decoded))
        else:
            found.append(example)
            if same_key(example.solution) not in same_key(decoded):
                lost.append(index)
    if not lost:
        return found, []
    shown = examples[lost[0]].target[:40]
    return found, [
        f"{split}: {len(lost)} of {len(found)} targets hold characters that the tokenizer cannot give back, such as "
        f"{shown!r} ({listed_rows(lost)} of the split): no answer can equal them"
    ]
