"""Several sequences in one row, end to end, none of which sees another: fixed sizes of batches, and no padding.

Where a sequence begins, its positions begin again at 0, by which attention tells sequences apart. Models whose layers
carry a state from token to token, and methods that put tokens before the text, do not go by it; ``require_apart`` finds
out by what comes out.

Shapes: B rows, T tokens, S sequences.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from peftscope.errors import MethodRefused
from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.causal_lm.loss import IGNORED, token_losses
from peftscope.tasks.base import Batch
from peftscope.tasks.text.tokens import Encoded, collate
from peftscope.tasks.text.turns import TrainOn

__all__ = ["TrainingRows", "collate_packs", "num_sequences", "packs_of", "require_apart"]

MOST_LEAKED = 0.2
"""Of the change that seeing the sequences before would make: less is rounding."""


class TrainingRows:
    """What training batches are made of: a sequence a row, or as many as there is room for.

    Args:
        encoded: The training split.
        room: Tokens of a row; None where each sequence has a row of its own.
        pad_id: What rows are filled up with.
        train_on: Tokens that are learned.
    """

    def __init__(self, encoded: Encoded, *, room: int | None, pad_id: int, train_on: TrainOn) -> None:
        self._encoded, self._pad_id, self._train_on = encoded, pad_id, train_on
        self._packs = None if room is None else packs_of(encoded.lengths, room)
        alone = encoded.lengths
        self.lengths = alone if self._packs is None else np.array([alone[pack].sum() for pack in self._packs])
        """Tokens of each row."""
        self._is_checked = False

    def batch(self, rows: Sequence[int]) -> Batch:
        """Some of the rows."""
        if self._packs is None:
            return collate(self._encoded, rows, pad_id=self._pad_id, train_on=self._train_on)
        packs = [self._packs[row] for row in rows]
        return collate_packs(self._encoded, packs, pad_id=self._pad_id, train_on=self._train_on)

    def require_apart(self, model: nn.Module, batch: Batch) -> None:
        """Check once that no sequence of a packed row sees another.

        Raises:
            MethodRefused: One does.
        """
        if not self._is_checked:
            require_apart(model, batch)
            self._is_checked = True


def packs_of(lengths: Sequence[int] | np.ndarray, room: int) -> list[list[int]]:
    """Sequences in as few rows as is easy: the longest first, each into the fullest row that has room for it.

    Args:
        lengths: Tokens of each sequence: S, none above ``room``.
        room: Tokens of a row.

    >>> packs_of([3, 6, 2, 5], 8)
    [[1, 2], [3, 0]]
    """
    sizes = np.asarray(lengths)
    packs: list[list[int]] = []
    by_space: list[list[list[int]]] = [[] for _ in range(room + 1)]
    spaces = 0  # bit s is set where a row has s tokens of room
    for index in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[index])
        fitting = spaces >> size
        if fitting:
            space = size + (fitting & -fitting).bit_length() - 1
            pack = by_space[space].pop()
            spaces &= ~(1 << space) if not by_space[space] else -1
        else:
            space, pack = room, []
            packs.append(pack)
        pack.append(index)
        by_space[space - size].append(pack)
        spaces |= 1 << (space - size)
    return packs


def collate_packs(encoded: Encoded, packs: Sequence[Sequence[int]], *, pad_id: int, train_on: TrainOn) -> Batch:
    """Rows of sequences end to end: ``input_ids``, ``position_ids``, ``attention_mask`` and ``labels``, each (B, T).

    The mask says what is padding, and is not for the model, which goes by the positions; padding is a sequence of its
    own behind the others.
    """
    alone = [[collate(encoded, [i], pad_id=pad_id, train_on=train_on) for i in pack] for pack in packs]
    width = max(sum(part["input_ids"].shape[1] for part in parts) for parts in alone)
    fill = {"input_ids": pad_id, "attention_mask": 0, "labels": IGNORED}
    rows: dict[str, list[Tensor]] = {name: [] for name in (*fill, "position_ids")}
    for parts in alone:
        sizes = [part["input_ids"].shape[1] for part in parts]
        rest = width - sum(sizes)
        for name, value in fill.items():
            rows[name].append(torch.cat([*(part[name][0] for part in parts), torch.full((rest,), value)]))
        rows["position_ids"].append(torch.cat([torch.arange(size) for size in (*sizes, rest)]))
    return {name: torch.stack(tensors) for name, tensors in rows.items()}


def num_sequences(batch: Batch) -> int:
    """Sequences in packed rows."""
    return int(((batch["position_ids"] == 0) & (batch["attention_mask"] == 1)).sum())


@torch.no_grad()
def require_apart(model: nn.Module, batch: Batch) -> None:
    """Check that no sequence of a packed row sees another: each one's losses are what they are when it is alone.

    Raises:
        MethodRefused: They are not.
    """
    starts_BT = (batch["position_ids"] == 0) & (batch["attention_mask"] == 1)
    row = int(starts_BT.sum(1).argmax())
    num_tokens = int(batch["attention_mask"][row].sum())
    ids_T = batch["input_ids"][row, :num_tokens]
    starts = [*torch.nonzero(starts_BT[row]).flatten().tolist(), num_tokens]
    if len(starts) < 3:
        return
    cuts = [ids_T[start:end][None] for start, end in pairwise(starts)]
    with evaluating(model):
        alone = torch.cat([token_losses(model, input_ids=ids, attention_mask=torch.ones_like(ids)) for ids in cuts])
        run_on = token_losses(model, input_ids=ids_T[None], attention_mask=torch.ones_like(ids_T)[None])
        positions = batch["position_ids"][row, :num_tokens][None]
        with warnings.catch_warnings():  # peft says that it drops the positions, which is what is found out here
            warnings.simplefilter("ignore", UserWarning)
            packed = token_losses(model, input_ids=ids_T[None], position_ids=positions, use_cache=False)
    inside = torch.ones(num_tokens - 1, dtype=torch.bool, device=ids_T.device)
    inside[torch.tensor(starts[1:-1], device=ids_T.device) - 1] = False  # there the next token is another sequence's
    leaked, most = ((losses[inside] - alone).pow(2).mean().sqrt() for losses in (packed, run_on))
    if not leaked <= MOST_LEAKED * most:
        raise MethodRefused(
            "sequences that are packed into one row see one another with this method on this model, so it would not be "
            "trained on the same as the others; set task.packing: false"
        )
