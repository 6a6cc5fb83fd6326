"""Distributions over the next token: of a text or of a task's batches, and how two of them differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.errors import DataError
from peftscope.models.kinds.base import Batch

__all__ = ["beginnings", "distribution_differences", "divergence", "next_token_logits", "windows_of"]

WINDOW = 128
"""Tokens that are seen together."""
WINDOWS = 2
"""In a batch."""
PROMPTS = 16
"""Rows whose beginnings are gone on from …"""
MOST_OF_PROMPT = 32
"""… and tokens of each at the most."""


def windows_of(tokenizer: Any, text: str, most: int) -> list[Batch]:
    """A text in windows of equal length.

    Args:
        tokenizer: The base's.
        text: To be cut.
        most: Tokens at the most.

    Raises:
        DataError: The text has too few tokens for one.
    """
    ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids[:most]
    count = len(ids) // WINDOW
    if count == 0:
        raise DataError(f"the text has {len(ids)} tokens; {WINDOW} at least are needed to compare models on it")
    windows = torch.tensor(ids[: count * WINDOW]).view(count, WINDOW)
    return [{"input_ids": some, "attention_mask": torch.ones_like(some)} for some in torch.split(windows, WINDOWS)]


def beginnings(batches: Sequence[Batch]) -> list[list[int]]:
    """Token ids of the first halves of some rows, padding left out."""
    rows = [
        ids[heard.bool()].tolist()
        for batch in batches
        for ids, heard in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    step = max(1, len(rows) // PROMPTS)
    return [row[: min(MOST_OF_PROMPT, len(row) // 2)] for row in rows[::step][:PROMPTS] if len(row) > 1]


def next_token_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits (tokens, vocabulary) of a batch, padding left out."""
    ids, heard = batch["input_ids"], batch["attention_mask"]
    told = {key: batch[key] for key in ("attention_mask", "position_ids") if key in batch}
    if "position_ids" in told:  # packed samples: their positions tell where each begins
        del told["attention_mask"]
    logits: Tensor = model(input_ids=ids, use_cache=False, **told).logits
    return logits[:, -ids.shape[1] :][heard.bool()]  # virtual tokens come first


def divergence(wanted: Tensor, given: Tensor) -> Tensor:
    """Nats a token by which one distribution (rows, vocabulary) misses another; never below zero."""
    p, q = (values.float().log_softmax(-1) for values in (wanted, given))
    return (p.exp() * (p - q)).sum(-1).clamp_min(0.0)


def distribution_differences(wanted: Tensor, given: Tensor) -> Mapping[str, Tensor]:
    """``kl``: nats a token by which the given distribution misses the wanted one; ``agreement``: the likeliest token is
    the same.
    """
    return {
        "kl": divergence(wanted, given),
        "agreement": (wanted.argmax(-1) == given.argmax(-1)).float(),
    }
