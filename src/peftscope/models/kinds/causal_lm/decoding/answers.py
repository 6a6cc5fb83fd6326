"""What a decoder is asked and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["AnswerEnds", "Generated", "Prompt", "Reference"]


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What a model wrote after a prompt."""

    text: str
    """Without the prompt and without special tokens."""
    num_tokens: int
    """Tokens generated, the end-of-sequence token included."""
    truncated: bool
    """No end of sequence came within the limit, and no stop rule was met."""
    loss_sum: float | None = None
    """Sum over the labels of a reference of -log p, in float32; None where there is no reference."""
    num_labels: int | None = None
    """Labels in that sum."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The sequence a prompt is the beginning of in training."""

    ids: np.ndarray
    """Token ids, of shape (T,), the prompt's first."""
    learned: np.ndarray
    """Which of them have a label, of shape (T,); never the first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """One prompt, ready for decoding."""

    index: int
    """Place among the prompts."""
    ids: list[int]
    limit: int
    """Most new tokens."""
    reference: Reference | None = None

    @cached_property
    def sequence(self) -> list[int]:
        """Tokens to read: the reference's where there is one, else the prompt's."""
        return self.ids if self.reference is None else [int(token) for token in self.reference.ids]

    @cached_property
    def labels(self) -> list[int]:
        """Places in ``sequence`` that have a label."""
        return [] if self.reference is None else [int(place) for place in np.flatnonzero(self.reference.learned)]


@dataclass(frozen=True, kw_only=True)
class AnswerEnds:
    """When an answer is complete: an end token, or a stop rule that its text meets."""

    tokenizer: Any
    end_ids: Collection[int]
    decided: Callable[[str], bool] | None = None
    """Told the text so far; True ends the answer with the token that brought it."""

    def text(self, tokens: list[int]) -> str:
        """Without special tokens."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def met(self, tokens: list[int]) -> bool:
        """Whether the last of these tokens ends the answer; asked once for every number of tokens."""
        return tokens[-1] in self.end_ids or self.is_decided(tokens)

    def is_decided(self, tokens: list[int]) -> bool:
        """Whether the stop rule holds for the text of these tokens."""
        return self.decided is not None and self.decided(self.text(tokens))

    def finished(self, tokens: list[int], *, ended: bool, loss: tuple[float, int] | None = None) -> Generated:
        """The answer of these tokens."""
        loss_sum, num_labels = (None, None) if loss is None else loss
        return Generated(
            text=self.text(tokens),
            num_tokens=len(tokens),
            truncated=not ended,
            loss_sum=loss_sum,
            num_labels=num_labels,
        )
