"""reasoning-gym's data sets: making one, and its own check of answers, in a form that can be kept.

An entry holds what the check needs: tuples, keys that are numbers, numpy's scalars. JSON would bring tuples
back as lists, so entries are kept as Python literals, which ``ast.literal_eval`` reads without running
anything. To draw an entry again by its number is no way: some data sets (``knight_swap``, ``list_functions``)
give other entries for the same seed.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from peftscope.errors import DataError, StoreError, unknown_name
from peftscope.tasks.base import Split
from peftscope.tasks.text.options import MathOptions

__all__ = ["DRY_DRAWS", "Check", "ProblemSource", "read_checks", "write_checks"]

DRY_DRAWS = 1000
"""Draws without a new problem after which a generator is taken to have no more."""
SIZES: dict[Split, int] = {"train": 2000, "valid": 100, "test": 200}
CHECKS = "checks.jsonl"


class ProblemSource:
    """A reasoning-gym data set; made when first used, since importing the library takes a second."""

    def __init__(self, options: MathOptions) -> None:
        self._options = options
        given = {"train": options.train_size, "valid": options.valid_size, "test": options.test_size}
        self.sizes: dict[Split, int] = {split: given[split] or SIZES[split] for split in SIZES}

    @cached_property
    def data(self) -> Any:
        """The data set.

        Raises:
            DataError: There is none of that name, or its settings are wrong.
        """
        import reasoning_gym
        from reasoning_gym.factory import DATASETS

        options = self._options
        if options.dataset not in DATASETS:
            raise DataError(unknown_name("reasoning-gym data set", options.dataset, DATASETS))
        size = 100 * sum(self.sizes.values()) + DRY_DRAWS
        settings: dict[str, Any] = {"size": size, "seed": options.split_seed, **options.dataset_options}
        try:
            return reasoning_gym.create_dataset(options.dataset, **settings)
        except (AssertionError, TypeError, ValueError) as error:
            raise DataError(f"reasoning-gym {options.dataset}: dataset_options: {error}") from error


@dataclass(frozen=True)
class Check:
    """A data set's own check of the answers to one of its problems."""

    source: ProblemSource
    entry: dict[str, Any] | str
    """The entry, or the literal it was kept as."""

    def __call__(self, answer: str) -> bool:
        """Whether an answer is fully right."""
        entry = ast.literal_eval(self.entry) if isinstance(self.entry, str) else self.entry
        data = self.source.data
        try:
            return float(data.score_answer(answer, entry)) >= 1.0
        except (
            ArithmeticError,
            AssertionError,
            AttributeError,
            LookupError,
            RecursionError,
            SyntaxError,
            TypeError,
            ValueError,
        ):
            return False  # a check that stumbles over a text has not accepted it

    def literal(self) -> str | None:
        """The entry as a Python literal; None where reading that would not give the entry again."""
        if isinstance(self.entry, str):
            return self.entry
        text = repr(_plain(self.entry))
        try:
            again = ast.literal_eval(text)
            return text if again == self.entry and repr(again) == text else None
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None


def write_checks(folder: Path, checks: Mapping[str, Check]) -> bool:
    """Write checks by the ids of their problems; False, and nothing, where one cannot be kept.

    Raises:
        OSError: The disk is full or not writable.
    """
    literals = {problem_id: check.literal() for problem_id, check in checks.items()}
    if None in literals.values():
        return False
    text = "".join(json.dumps(pair) + "\n" for pair in literals.items())
    (folder / CHECKS).write_text(text, encoding="utf-8")
    return True


def read_checks(folder: Path, options: MathOptions) -> dict[str, Check]:
    """The checks kept in a folder; the data set they ask is made when one is first asked.

    Raises:
        StoreError: They cannot be read.
    """
    source = ProblemSource(options)
    try:
        with (folder / CHECKS).open(encoding="utf-8") as lines:
            return {problem_id: Check(source, literal) for problem_id, literal in map(json.loads, lines)}
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{folder / CHECKS}: cannot be read ({error})") from error


def _plain(value: Any) -> Any:
    """The value with numpy's scalars (``np.str_``, ``np.float64``) as Python's own, which are equal to them."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {_plain(k): _plain(v) for k, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(v) for v in value)
    return value
