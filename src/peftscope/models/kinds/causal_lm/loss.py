"""The loss of causal language models."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import masking_utils

from peftscope.capture import capture
from peftscope.models.device import forked_rng
from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.base import Batch
from peftscope.models.kinds.causal_lm.label_losses import HeadRefused, label_loss, whole_model
from peftscope.models.loss_memory import loss_memory, set_loss_memory

__all__ = ["IGNORED", "causal_lm_loss", "saves_logits", "sequence_losses", "token_losses", "try_label_losses"]

IGNORED = -100
"""Label of positions without a loss, as in torch and transformers."""
TRIED = 6
"""Tokens of a sequence on which a way to take the loss is tried."""
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-9}
"""By which share of itself the loss may differ there, by the type of the weights …"""
HALF_TOLERANCE = 2e-3
"""… and in half precision, where products of other shapes are rounded otherwise …"""
MASK_TOLERANCE = 3e-2
"""… and where attention without a mask rounds otherwise in every block, or quantized activations do."""


def causal_lm_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """The model's own loss on full logits, or the same on labelled positions alone: sum over the labels, their number.

    Rows with ``position_ids`` hold several sequences, told apart by positions that begin again, and not by a mask.
    """
    if saves_logits(model):
        try:
            return _on_labels(model, batch)
        except HeadRefused as refused:  # what shows in training alone, where the trial could not see it
            base = whole_model(model)
            assert base is not None
            set_loss_memory(base, "plain")
            warnings.warn(f"train.memory: the loss holds all outputs from now on ({refused})", stacklevel=2)
    num_labels = int((batch["labels"][:, 1:] != IGNORED).sum())
    out = model(input_ids=batch["input_ids"], labels=batch["labels"], **_told(batch))
    return out.loss * num_labels, num_labels


def saves_logits(model: nn.Module) -> bool:
    """Whether the loss of a model is to be taken on labelled positions alone, and can be."""
    base = whole_model(model)
    if base is None or loss_memory(base) == "plain":
        return False
    return loss_memory(base) == "saving" or try_label_losses(model) is None


def try_label_losses(model: nn.Module) -> str | None:
    """Find out whether a loss on labelled positions alone is the model's own, where that is wanted.

    On ``meta``, where there are no values, whether it can be taken.

    Returns:
        Why it is not, and the model's own will be taken; None where it is, or is not wanted.
    """
    base = whole_model(model)
    if base is None:
        return "no decoder and head to be told apart"
    if loss_memory(base) != "asked":
        return None
    device = next(model.parameters()).device
    ids = torch.arange(2 * TRIED, device=device).view(2, TRIED) % base.config.get_text_config().vocab_size
    labels, mask = ids.clone(), torch.ones_like(ids)
    labels[:, : TRIED // 2] = IGNORED
    whole = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    padded = {"input_ids": ids, "attention_mask": mask.clone(), "labels": labels.clone()}
    padded["attention_mask"][0, -1], padded["labels"][0, -1] = 0, IGNORED
    tolerance = TOLERANCES.get(base.dtype, HALF_TOLERANCE)
    is_rounded = base.dtype not in TOLERANCES or getattr(base, "is_quantized", False)
    reason: list[str] = []

    def compare() -> None:
        for module in around:  # what sees labels, and may have a term of its own in training and nowhere else
            module.training = True
        for batch, allowed in ((whole, tolerance), (padded, MASK_TOLERANCE if is_rounded else tolerance)):
            found = _on_labels(model, batch)[0]
            if found.is_meta:
                return
            own = model(input_ids=ids, labels=batch["labels"], **_told(batch)).loss
            own = own * int((batch["labels"][:, 1:] != IGNORED).sum())
            if not abs(float(found) - float(own)) <= allowed * abs(float(own)):
                reason.append(f"it gives {float(found):.6g} where the model's own is {float(own):.6g}")

    inside = set(base.modules())
    around = [module for module in model.modules() if module not in inside]
    with evaluating(model), torch.no_grad(), forked_rng(device):
        failure = capture(compare)
    if failure is not None:
        reason.append(failure.reason)
    set_loss_memory(base, "plain" if reason else "saving")
    return reason[0] if reason else None


def _told(batch: Batch) -> dict[str, Any]:
    if "position_ids" in batch:
        return {"attention_mask": None, "position_ids": batch["position_ids"], "use_cache": False}
    return {"attention_mask": batch["attention_mask"]}


def _on_labels(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    next_BT = F.pad(batch["labels"][:, 1:], (0, 1), value=IGNORED).flatten()
    if next_BT.is_meta:  # the most there can be
        rows_N = torch.empty(next_BT.numel() - len(batch["labels"]), dtype=torch.long, device="meta")
    else:
        rows_N = (next_BT != IGNORED).nonzero().flatten()
    told = _told(batch)
    if told["attention_mask"] is not None:
        told["attention_mask"] = _without_padding_after(told["attention_mask"])
    with _ones_on_meta() if next_BT.is_meta else nullcontext():
        total = label_loss(model, batch, rows_N, next_BT[rows_N], **told)
    return total, len(rows_N)


def _without_padding_after(mask_BT: Tensor) -> Tensor:
    """A mask of ones where no padding comes before a token.

    Such padding no token with a label ever sees. Without a mask attention takes kernels that skip what lies after each
    token, and keys and values are not repeated for the heads that share them.
    """
    if mask_BT.is_meta or bool((mask_BT[:, 1:] <= mask_BT[:, :-1]).all()):
        return torch.ones_like(mask_BT)
    return mask_BT


def _ones_on_meta() -> AbstractContextManager[object]:
    """Let ``transformers`` take a mask for ones where it has no values; versions that ask otherwise count a mask."""
    return mock.patch.object(masking_utils, "fast_all", create=True, return_value=True)


def sequence_losses(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
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
