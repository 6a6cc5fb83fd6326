"""What methods start from: sequences of training data without their padding, and the cache of a text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from peftscope.errors import MethodRefused
from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.base import Batch

__all__ = ["TextInputs"]


class TextInputs:
    """Token ids as a causal language model takes them.

    Args:
        tokenizer: The base model's.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def samples(self, batch: Batch) -> Iterator[Batch]:
        """Each sequence on its own, without padding."""
        for row in range(len(batch["input_ids"])):
            mask = batch["attention_mask"][row].bool() if "attention_mask" in batch else slice(None)
            yield {"input_ids": batch["input_ids"][row][mask].unsqueeze(0)}

    def num_positions(self, batch: Batch, *, ignored_label: int | None = None) -> int:
        """Tokens that are not padding, those without a label left out where one is ignored."""
        mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
        if ignored_label is not None and "labels" in batch:
            mask = mask & (batch["labels"] != ignored_label)
        return int(mask.sum())

    def cache_of(self, base: nn.Module, text: str, least: int) -> Any:
        """Keys and values for a text; one that is too short is repeated, so that every position has a start.

        Raises:
            MethodRefused: The text has no tokens.
        """
        ids = list(self.tokenizer(text)["input_ids"])
        if not ids:
            raise MethodRefused("the text a prefix starts from (init_kv_cache_prefix) has no tokens")
        ids = (ids * (least // len(ids) + 1))[: max(len(ids), least)]
        device = next(base.parameters()).device
        with evaluating(base), torch.no_grad():
            return base(input_ids=torch.tensor([ids], device=device), use_cache=True).past_key_values
