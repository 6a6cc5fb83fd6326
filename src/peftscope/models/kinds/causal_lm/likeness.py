"""How alike two language models are on a text: their distributions over the next token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.errors import DataError
from peftscope.models.kinds.base import Batch
from peftscope.models.kinds.likeness import Likeness

__all__ = ["TextLikeness"]

WINDOW = 128
"""Tokens that are seen together."""
WINDOWS = 8
"""In a batch."""


class TextLikeness(Likeness):
    """Next-token distributions on windows of a text.

    Args:
        tokenizer: The base's.
        text: Long enough for one window.
        device: Of the models.
        num_tokens: At the most so many of it.

    Raises:
        DataError: The text has too few tokens.
    """

    def __init__(self, tokenizer: Any, text: str, device: torch.device, num_tokens: int) -> None:
        ids = tokenizer(text, add_special_tokens=False, truncation=True, max_length=num_tokens).input_ids
        count = len(ids) // WINDOW
        if count == 0:
            raise DataError(f"the text has {len(ids)} tokens; {WINDOW} at least are needed to compare models on it")
        windows = torch.tensor(ids[: count * WINDOW]).view(count, WINDOW)
        self.device = device
        self.batches = [{"input_ids": some} for some in torch.split(windows, WINDOWS)]

    def outputs(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits (tokens, vocabulary)."""
        logits: Tensor = model(input_ids=batch["input_ids"].to(self.device), use_cache=False).logits
        return logits.flatten(0, 1)

    def differences(self, wanted: Tensor, given: Tensor) -> Mapping[str, Tensor]:
        """``kl``: nats a token by which the given distribution misses the wanted one; ``agreement``: the likeliest
        token is the same.
        """
        p, q = (values.float().log_softmax(-1) for values in (wanted, given))
        return {
            "kl": (p.exp() * (p - q)).sum(-1),
            "agreement": (wanted.argmax(-1) == given.argmax(-1)).float(),
        }
