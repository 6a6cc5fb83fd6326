"""The loss of causal language models."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from peftscope.models.kinds.base import Batch

__all__ = ["IGNORED", "causal_lm_loss", "label_losses", "token_losses"]

IGNORED = -100
"""Label of positions without a loss, as in torch and transformers."""


def causal_lm_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """The model's own loss on full logits: sum over the labels, and their number.

    Rows with ``position_ids`` hold several sequences, told apart by positions that begin again, and not by a mask.
    """
    packed = "position_ids" in batch
    told = {"position_ids": batch["position_ids"], "use_cache": False} if packed else {}
    mask = None if packed else batch["attention_mask"]
    out = model(input_ids=batch["input_ids"], attention_mask=mask, labels=batch["labels"], **told)
    num_labels = int((batch["labels"][:, 1:] != IGNORED).sum())
    return out.loss * num_labels, num_labels


def label_losses(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Of each sequence its loss summed over the labels, and their number: (B,) each.

    Virtual tokens of prompt learning come first and have logits too; the last T are the text's.
    """
    labels_BT = batch["labels"]
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logits_BTV, next_BT = logits[:, -labels_BT.shape[1] : -1].float(), labels_BT[:, 1:]
    nll_BT: Tensor = F.cross_entropy(logits_BTV.transpose(1, 2), next_BT, ignore_index=IGNORED, reduction="none")
    return nll_BT.sum(1), (next_BT != IGNORED).sum(1)


def token_losses(model: nn.Module, *, input_ids: Tensor, **told: Any) -> Tensor:
    """Loss of each token of one sequence but the first: (T - 1,)."""
    logits = model(input_ids=input_ids, **told).logits
    logits_TV = logits[0, -input_ids.shape[1] : -1].float()
    return F.cross_entropy(logits_TV, input_ids[0, 1:], reduction="none")
