"""Reading prompts: keys and values, logits after the last token, and the loss of a reference on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from peft import PeftModel
from torch import Tensor, nn
from transformers import DynamicCache

from peftscope.models.kinds.causal_lm.decoding.answers import Prompt
from peftscope.models.kinds.causal_lm.decoding.cache import KeysValues
from peftscope.models.kinds.causal_lm.decoding.checking import Unsuited
from peftscope.models.kinds.causal_lm.decoding.picking import picked_logits

__all__ = ["Prefilled", "Reader"]

LEAST_SHARED = 16
"""Tokens that all prompts must begin with before these are read apart."""
LOSS_ROWS = 64
"""Labels whose float32 logits are held at a time."""


@dataclass(frozen=True, kw_only=True)
class Prefilled:
    """Prompts as a model has read them."""

    layers: list[KeysValues]
    """Columns of what is shared and of the prompts, padding on the right."""
    lengths: list[int]
    """Columns of each prompt that are no padding and no answer."""
    logits: Tensor
    """After each prompt, of shape (prompts, vocabulary)."""
    losses: list[tuple[float, int] | None]
    """Sum and number of labels of each reference."""


class Reader:
    """Reads prompts with the model's own forward pass; what all of them begin with is read once.

    Args:
        model: A causal language model, plain or as a ``PeftModel``, in ``eval`` mode.
        prompts: All that will be read.
        device: Where the model is.
    """

    def __init__(self, model: nn.Module, prompts: Sequence[Prompt], device: torch.device) -> None:
        self.model = model
        self.device = device
        self.forward: Any = model  # what takes ids without another virtual token being put before them
        self.embed: Any = None
        self.shared_layers: list[KeysValues] = []
        self.num_virtual = 0
        self.num_shared = _num_shared(prompts)
        self._read_shared(prompts[0].ids[: self.num_shared])

    @property
    def num_before(self) -> int:
        """Columns before a prompt's own: virtual tokens, and what all prompts begin with."""
        return self.num_virtual + self.num_shared

    def read(self, prompts: Sequence[Prompt]) -> Prefilled:
        """Read some prompts, with their references where they have one.

        Raises:
            Unsuited: The model keeps something else than keys and values of every token.
        """
        rows = [prompt.sequence[self.num_shared :] for prompt in prompts]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [row[-1]] * (longest - len(row)) for row in rows], device=self.device)
        ends = [len(prompt.ids) - self.num_shared - 1 for prompt in prompts]
        places = [(row, end) for row, end in enumerate(ends)]
        labels = [(row, label - self.num_shared) for row, prompt in enumerate(prompts) for label in prompt.labels]
        places += [(row, label - 1) for row, label in labels]
        cache = self._shared_cache(len(prompts))
        logits = self._run(cache, places, ids=ids)
        losses = self._losses(logits[len(prompts) :], ids, labels, prompts)
        return Prefilled(
            layers=_layers(cache, len(prompts), self.num_before + longest),
            lengths=[self.num_before + end + 1 for end in ends],
            logits=logits[: len(prompts)],
            losses=losses,
        )

    def plain_logits(self, tokens: Sequence[int], num_last: int) -> Tensor:
        """The last logits of one sequence by the forward pass that training takes: no cache, no padding.

        Shape: (num_last, vocabulary).
        """
        ids = torch.tensor([list(tokens)], device=self.device)
        model: Any = self.model
        logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
        return logits[0, -num_last:]

    def _read_shared(self, tokens: list[int]) -> None:
        ids = torch.tensor([tokens], device=self.device, dtype=torch.long)
        embeds, num_before = None, 0
        if isinstance(self.model, PeftModel) and self.model.active_peft_config.is_prompt_learning:
            self.forward = self.model.base_model
            prompt: Any = self.model.get_prompt(batch_size=1)
            if isinstance(prompt, Tensor):
                self.embed = self.model.word_embeddings
                words = self.embed(ids)
                embeds = torch.cat([prompt.to(device=words.device, dtype=words.dtype), words], dim=1)
                self.num_virtual = prompt.shape[1]
            else:  # keys and values, as if tokens had been read
                num_before = self.num_virtual = int(prompt.get_seq_length())
                self.shared_layers = _layers(prompt, 1, self.num_virtual)
        if self.num_before > num_before:
            cache = self._shared_cache(1)
            last = [(0, self.num_before - num_before - 1)]
            self._run(cache, last, ids=ids, embeds=embeds, num_before=num_before)
            self.shared_layers = _layers(cache, 1, self.num_before)

    def _run(
        self,
        cache: DynamicCache,
        places: Sequence[tuple[int, int]],
        *,
        ids: Tensor,
        embeds: Tensor | None = None,
        num_before: int | None = None,
    ) -> Tensor:
        """Logits at places (row, column), of shape (places, vocabulary)."""
        before = self.num_before if num_before is None else num_before
        if embeds is None and self.embed is not None:
            embeds = self.embed(ids)
        told = {"input_ids": ids} if embeds is None else {"inputs_embeds": embeds}
        num_rows, num_new = (ids if embeds is None else embeds).shape[:2]
        positions = torch.arange(before, before + num_new, device=self.device).expand(num_rows, -1)
        # Padding stands on the right, where no token that counts sees it: nothing need be masked.
        mask = torch.ones(num_rows, before + num_new, dtype=torch.long, device=self.device)
        return picked_logits(
            self.forward,
            places,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            **told,
        )

    def _shared_cache(self, num_rows: int) -> DynamicCache:
        cache = DynamicCache()  # not from the config: sliding layers would drop what lies outside their window
        for index, pair in enumerate(self.shared_layers):
            if pair is not None:
                cache.update(*(states.expand(num_rows, -1, -1, -1) for states in pair), index)
        return cache

    def _losses(
        self, logits: Tensor, ids: Tensor, labels: Sequence[tuple[int, int]], prompts: Sequence[Prompt]
    ) -> list[tuple[float, int] | None]:
        sums = torch.zeros(len(prompts), dtype=torch.float32, device=self.device)
        for start in range(0, len(labels), LOSS_ROWS):
            rows, columns = torch.tensor(labels[start : start + LOSS_ROWS], device=self.device).T
            some = logits[start : start + LOSS_ROWS].float()
            sums.index_add_(0, rows, F.cross_entropy(some, ids[rows, columns], reduction="none"))
        return [
            None if prompt.reference is None else (total, len(prompt.labels))
            for prompt, total in zip(prompts, sums.tolist(), strict=True)
        ]


def _layers(cache: DynamicCache, num_rows: int, num_columns: int) -> list[KeysValues]:
    """What a forward pass kept.

    Raises:
        Unsuited: It is not one column of keys and values of each token.
    """
    layers: list[KeysValues] = []
    for layer in cache.layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None:
            layers.append(None)
            continue
        if any(kept.ndim != 4 or kept.shape[::2] != (num_rows, num_columns) for kept in (keys, values)):
            raise Unsuited("the model's cache does not hold one column of each token")
        layers.append((keys, values))
    if not any(pair is not None for pair in layers):
        raise Unsuited("the model keeps no keys and values in the cache it is given")
    return layers


def _num_shared(prompts: Sequence[Prompt]) -> int:
    """Tokens that every prompt begins with, if they are worth a pass of their own."""
    if len(prompts) < 2:
        return 0
    low, high = min(prompt.ids for prompt in prompts), max(prompt.ids for prompt in prompts)
    pairs = enumerate(zip(low, high, strict=False))
    common = next((place for place, (one, other) in pairs if one != other), min(len(low), len(high)))
    most = min(len(prompt.ids) for prompt in prompts) - 1  # the last token's logits are each prompt's own
    labels = [prompt.labels[0] - 1 for prompt in prompts if prompt.labels]  # a label's logits come one token before
    shared = min(common, most, *labels)
    return shared if shared >= LEAST_SHARED else 0
