"""Related examples: rows of one document, and rows that ask the same."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from peftscope.tasks.base import Split
from peftscope.tasks.splits import same_key
from peftscope.tasks.text.examples import Prepared, TextExample

__all__ = ["HELD_OUT", "bare_key", "grouped", "near_duplicates_note", "together_key"]

HELD_OUT: tuple[Split, ...] = ("valid", "test")
WORTH_SAYING = 0.02
"""Share of the rows from which near duplicates are told."""


def together_key(example: TextExample) -> str:
    """Rows for which it is the same stay in one split: of one group, else with the same prompt.

    Plain text has no prompt; there the text itself must not stand in two splits.
    """
    return same_key(example.prompt or example.target) if example.group is None else f"group {example.group}"


def grouped(prepared: Prepared) -> Prepared:
    """Held-out examples with a group where at least two share one: the one they came with, else the same prompt."""
    splits, notes = dict(prepared.splits), list(prepared.notes)
    for split in HELD_OUT:
        examples = splits[split]
        labels = [e.group if e.group is not None else same_key(e.prompt or e.target) for e in examples]
        counts = Counter(labels)
        splits[split] = [replace(e, group=label if counts[label] > 1 else None) for e, label in zip(examples, labels)]
        repeated = [e for e, label in zip(examples, labels) if e.group is None and counts[label] > 1]
        if repeated:
            different = len({same_key(e.prompt or e.target) for e in repeated})
            notes.append(
                f"{split}: {len(repeated)} of {len(examples)} rows ask what another asks, {different} different ones: "
                "rows that ask the same count as one"
            )
    return Prepared(splits=splits, notes=tuple(notes))


def near_duplicates_note(examples: Sequence[TextExample]) -> list[str]:
    """What to say of prompts that differ from another in numbers, signs or white space alone."""
    keys = Counter(bare_key(e.prompt or e.target) for e in examples if e.group is None)
    near = sum(count for count in keys.values() if count > 1)
    if near < max(2, WORTH_SAYING * len(examples)):
        return []
    return [
        f"test: {near} of {len(examples)} rows differ from another only in numbers or signs; where they are made from "
        "one template or document, name the column that holds it as 'group', or intervals will be too narrow"
    ]


def bare_key(text: str) -> str:
    """A text without what near duplicates differ in.

    >>> bare_key("Order 17, please!") == bare_key("order 205 please")
    True
    """
    return " ".join(re.sub(r"[^\w\s]|_", " ", re.sub(r"\d+", "0", same_key(text))).split())
