"""The loss of causal language models."""

from __future__ import annotations

from torch import Tensor, nn

from peftscope.models.kinds.base import Batch

__all__ = ["IGNORED", "causal_lm_loss"]

IGNORED = -100
"""Label of positions without a loss, as in torch and transformers."""


def causal_lm_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """The model's own loss on full logits: sum over the labels, and their number."""
    out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"])
    num_labels = int((batch["labels"][:, 1:] != IGNORED).sum())
    return out.loss * num_labels, num_labels
