"""Losses of held-out examples: of a pass of their own, or along with the answers a model writes to them.

Shapes: N examples, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

from peftscope.models.evaluating import evaluating
from peftscope.models.kinds.causal_lm.generation import Generated, Reference
from peftscope.models.kinds.causal_lm.loss import sequence_losses
from peftscope.tasks.base import Batch, ExampleScore, to_device
from peftscope.tasks.text.examples import TextExample
from peftscope.tasks.text.tokens import Encoded
from peftscope.tasks.text.turns import TrainOn

__all__ = ["losses_of", "mean_losses", "mean_of_answers", "mean_per_label", "references"]


@torch.no_grad()
def losses_of(model: nn.Module, batches: Iterable[tuple[Sequence[int], Batch]]) -> dict[int, tuple[float, int]]:
    """Summed loss and number of labels of each example, by its index, from a forward pass.

    Args:
        model: With or without a method; left in the mode it was in.
        batches: Indices of examples, and the batch they make.
    """
    device = next(model.parameters()).device
    found: dict[int, tuple[float, int]] = {}
    with evaluating(model):
        for indices, batch in batches:
            sums, counts = sequence_losses(model, to_device(batch, device))
            found |= zip(indices, zip(sums.tolist(), counts.tolist()))
    return found


def mean_losses(examples: Sequence[TextExample], found: Mapping[int, tuple[float, int]]) -> list[ExampleScore]:
    """Each example's mean loss per label as its score: N."""
    return [
        ExampleScore(example_id=example.example_id, score=found[i][0] / found[i][1], group=example.group)
        for i, example in enumerate(examples)
    ]


def references(encoded: Encoded, train_on: TrainOn) -> list[Reference]:
    """The sequences of a split as training has them, with what of them is learned: N."""
    return [Reference(ids=encoded[i], learned=encoded.labelled(i, train_on)) for i in range(len(encoded))]


def mean_of_answers(answers: Sequence[Generated]) -> float | None:
    """Mean loss per label over all examples; None where a loss did not come along with every answer."""
    pairs = [(answer.loss_sum, answer.num_labels) for answer in answers]
    known = [(total, count) for total, count in pairs if total is not None and count is not None]
    return mean_per_label(known) if len(known) == len(pairs) else None


def mean_per_label(pairs: Iterable[tuple[float, int]]) -> float:
    """Mean loss per label from sums and numbers of labels.

    >>> mean_per_label([(3.0, 2), (1.0, 2)])
    1.0
    """
    sums, counts = zip(*pairs, strict=True)
    return float(sum(sums) / sum(counts))
