"""Prompts and answers as token ids and labels, the same whatever the tokenizer's padding settings are.

A sequence is: ids of the prompt as the tokenizer makes them (with a BOS where it adds one), ids of the
answer, EOS. The prompt's ids are a prefix of the sequence: training sees exactly what generation starts from.

The answer's ids are those that follow the prompt's when both are tokenised as one text. Where the two merge
at their border, so that the prompt is no prefix of the whole (a prompt that ends in white space, say), the
answer is tokenised by itself. The separator, a space by default, goes to the answer's side: tokenizers keep a
word and the space before it in one token, and a prompt that ends in a space would ask the model to continue
after a token it never saw there.

Labels: -100 at the first token of every sequence, which nothing predicts (with virtual tokens before it
something would, and prompt learning would count other labels than the rest), on padding, and on the prompt
unless everything is learned. Padding is told by length, never by comparing ids with a pad id.

Shapes: N sequences, B batch, T tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from peftscope.errors import DataError
from peftscope.models.kinds.causal_lm.loss import IGNORED
from peftscope.models.kinds.causal_lm.prompts import prompt_token_ids
from peftscope.tasks.base import Batch
from peftscope.tasks.text.turns import TrainOn

__all__ = ["Encoded", "collate", "encode", "join", "packed"]

_CHUNK = 1000


@dataclass(frozen=True)
class Encoded:
    """Token ids of N sequences, end to end in one array: 395,000 lists of integers would take gigabytes."""

    ids: np.ndarray
    """All sequences after each other, each cut off at the limit."""
    offsets: np.ndarray
    """Start of each sequence in ``ids``, and the end of the last: N + 1."""
    prompt_lengths: np.ndarray
    """Tokens of each prompt: N."""
    full_lengths: np.ndarray
    """Tokens of each sequence with its EOS before it was cut off: N."""
    learned: np.ndarray | None = None
    """Of each id in ``ids`` whether it is learned; None where it is all that follows the prompt."""

    def __len__(self) -> int:
        return len(self.prompt_lengths)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def mask(self, index: int) -> np.ndarray:
        """Which tokens of a sequence are learned: T."""
        start, end = self.offsets[index], self.offsets[index + 1]
        answers: np.ndarray = np.arange(end - start) >= self.prompt_lengths[index]
        return answers if self.learned is None else self.learned[start:end]

    def labelled(self, index: int, train_on: TrainOn) -> np.ndarray:
        """Which tokens of a sequence have a label: T. Never the first, which nothing predicts."""
        labelled: np.ndarray = np.full_like(self.mask(index), True) if train_on == "all" else self.mask(index).copy()
        labelled[:1] = False
        return labelled

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sequence: N."""
        return np.diff(self.offsets)

    @property
    def num_cut(self) -> int:
        """Sequences that were cut off, and have no EOS label."""
        return int((self.full_lengths > self.lengths).sum())

    def take(self, indices: Sequence[int]) -> Encoded:
        """Some of the sequences, in the order given."""
        chosen = np.asarray(indices, np.int64)
        parts = [self[i] for i in chosen]
        return Encoded(
            ids=np.concatenate(parts) if parts else self.ids[:0],
            offsets=np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
            prompt_lengths=self.prompt_lengths[chosen],
            full_lengths=self.full_lengths[chosen],
            learned=None if self.learned is None else np.concatenate([self.learned[:0], *map(self.mask, chosen)]),
        )

    def followed_by(self, other: Encoded) -> Encoded:
        """These sequences, then those of another."""
        return Encoded(
            ids=np.concatenate([self.ids, other.ids]),
            offsets=np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]]),
            prompt_lengths=np.concatenate([self.prompt_lengths, other.prompt_lengths]),
            full_lengths=np.concatenate([self.full_lengths, other.full_lengths]),
            learned=None
            if self.learned is None or other.learned is None
            else np.concatenate([self.learned, other.learned]),
        )

    def sha256(self) -> str:
        """Hash of ids, borders and prompt lengths."""
        digest = hashlib.sha256(np.ascontiguousarray(self.ids).data)
        digest.update(np.ascontiguousarray(self.offsets).data)
        digest.update(np.ascontiguousarray(self.prompt_lengths).data)
        if self.learned is not None:
            digest.update(np.packbits(self.learned).data)
        return digest.hexdigest()[:16]


def join(prompt: str, target: str, separator: str) -> str:
    """The target as it follows the prompt: behind the separator, unless white space parts them already.

    >>> join("Answer:", "4", " "), join("Answer:\\n", "4", " "), join("", "4", " ")
    (' 4', '4', '4')
    """
    parted = not prompt or prompt[-1].isspace() or target[:1].isspace()
    return target if parted else separator + target


def encode(
    tokenizer: Any, prompts: Sequence[str], targets: Sequence[str], *, separator: str, max_length: int | None
) -> Encoded:
    """Token ids of prompt, target and EOS.

    Args:
        tokenizer: The base model's; its padding and truncation settings are not used.
        prompts: N prompts.
        targets: N answers.
        separator: What stands between them.
        max_length: Longer sequences are cut off; None cuts nothing.

    Raises:
        DataError: The tokenizer has no EOS token.
    """
    if tokenizer.eos_token_id is None:
        raise DataError("the tokenizer has no EOS token, so no answer could end; set one in the model's folder")
    sequences: list[np.ndarray] = []
    prompt_lengths: list[int] = []
    full_lengths: list[int] = []
    for start in range(0, len(prompts), _CHUNK):
        texts = prompts[start : start + _CHUNK]
        answers = [join(p, t, separator) for p, t in zip(texts, targets[start : start + _CHUNK])]
        heads = prompt_token_ids(tokenizer, texts)
        wholes = prompt_token_ids(tokenizer, [text + answer for text, answer in zip(texts, answers)])
        for head, whole, answer in zip(heads, wholes, answers):
            tail = whole[len(head) :]
            if whole[: len(head)] != head or not tail:
                tail = tokenizer(answer, add_special_tokens=False, padding=False, truncation=False)["input_ids"]
            full = [*head, *tail, tokenizer.eos_token_id]
            sequences.append(np.asarray(full[:max_length], dtype=np.int32))
            prompt_lengths.append(len(head))
            full_lengths.append(len(full))
    return packed(sequences, prompt_lengths, full_lengths)


def packed(
    sequences: Sequence[np.ndarray],
    prompt_lengths: Sequence[int],
    full_lengths: Sequence[int],
    masks: Sequence[np.ndarray] | None = None,
) -> Encoded:
    """Sequences end to end; each with the mask of what is learned, unless that is what follows the prompt."""
    return Encoded(
        ids=np.concatenate(sequences) if sequences else np.zeros(0, dtype=np.int32),
        offsets=np.cumsum([0, *(len(s) for s in sequences)], dtype=np.int64),
        prompt_lengths=np.asarray(prompt_lengths),
        full_lengths=np.asarray(full_lengths),
        learned=None if masks is None else np.concatenate([np.zeros(0, dtype=bool), *masks]),
    )


def collate(encoded: Encoded, indices: Sequence[int], *, pad_id: int, train_on: TrainOn) -> Batch:
    """Sequences as ``input_ids``, ``attention_mask`` and ``labels``, each (B, T), padded on the right.

    The side is safe for training (padding after the last label is never attended to) and the tokenizer's own
    ``padding_side`` and pad token are not asked.
    """
    width = int(encoded.lengths[list(indices)].max())
    input_ids_BT = torch.full((len(indices), width), pad_id, dtype=torch.long)
    mask_BT = torch.zeros((len(indices), width), dtype=torch.long)
    labels_BT = torch.full((len(indices), width), IGNORED, dtype=torch.long)
    for row, index in enumerate(indices):
        ids = torch.from_numpy(encoded[index].astype(np.int64))
        labelled = torch.from_numpy(encoded.labelled(index, train_on))
        input_ids_BT[row, : len(ids)] = ids
        mask_BT[row, : len(ids)] = 1
        labels_BT[row, : len(ids)] = ids.where(labelled, IGNORED)
    return {"input_ids": input_ids_BT, "attention_mask": mask_BT, "labels": labels_BT}
