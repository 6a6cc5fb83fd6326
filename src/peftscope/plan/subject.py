"""What a prediction is made for: a base by its shape, and the batches it is trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.models.empty import empty_model
from peftscope.tasks.base import Batch
from peftscope.tasks.language import causal_lm_loss

__all__ = ["Subject", "TextSubject"]


class Subject(ABC):
    """A base on the ``meta`` device with batches of any size."""

    task_type: str | None
    """As ``BuildContext`` wants it."""
    vocab_size: int | None
    """Logits are known by it; None where there are none."""

    @abstractmethod
    def base(self) -> nn.Module:
        """A new base without weights."""

    @abstractmethod
    def batch(self, batch_size: int, length: int) -> Batch:
        """A training batch without values."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The loss of the task that would be trained, as ``Task.loss`` gives it."""

    def score(self, model: nn.Module, batch_size: int, length: int) -> None:
        """What scoring does at the most, without gradients.

        Raises:
            NotImplementedError: Scoring is not predicted for such a model.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TextSubject(Subject):
    """A causal language model; ``length`` is in tokens."""

    config: Any
    """As transformers holds it."""
    dtype: torch.dtype
    attn_implementation: str | None = None

    task_type = "CAUSAL_LM"

    @property
    def vocab_size(self) -> int | None:  # type: ignore[override]
        """Width of the logits."""
        return int(self.config.get_text_config().vocab_size)

    def base(self) -> nn.Module:
        """The model of the config, as ``models.load`` would prepare it."""
        model: nn.Module = empty_model(
            self.config,
            dtype=self.dtype,
            attn_implementation=self.attn_implementation,
        )
        return model

    def batch(self, batch_size: int, length: int) -> Batch:
        """Token ids, mask and labels, each of shape (batch_size, length)."""
        ids = torch.empty(batch_size, length, dtype=torch.long, device="meta")
        return {"input_ids": ids, "attention_mask": torch.empty_like(ids), "labels": torch.empty_like(ids)}

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The loss of every language task."""
        return causal_lm_loss(model, batch)

    def score(self, model: nn.Module, batch_size: int, length: int) -> None:
        """The longest prompt, and the last token of an answer behind a full cache."""
        ids = torch.empty(batch_size, max(1, length - 1), dtype=torch.long, device="meta")
        mask = torch.empty(batch_size, length, dtype=torch.long, device="meta")
        read = model(input_ids=ids, attention_mask=mask[:, :-1], use_cache=True, logits_to_keep=1)
        cache = read.past_key_values
        del read
        model(input_ids=ids[:, :1], attention_mask=mask, past_key_values=cache, use_cache=True)
