"""The order samples are drawn in: bucketed by length, yet length does not tell the position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

__all__ = ["epoch_batches"]

BATCHES_PER_BUCKET = 20
"""Batches that are sorted by length together; more saves little padding and makes batches more alike."""


def epoch_batches(lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Batches of sample indices without end, epoch after epoch; each sample exactly once an epoch.

    Samples are shuffled, cut into buckets of 20 batches, sorted by length within a bucket, and the batches of
    the epoch shuffled. What does not fill a batch is a smaller last batch of the epoch; it is taken off
    before the sorting, since otherwise it would always hold the shortest or longest samples.

    Args:
        lengths: Length of every sample in tokens.
        batch_size: Samples in a batch.
        seed: Alone decides the order; no global random state is touched.
    """
    assert len(lengths) > 0
    assert batch_size > 0
    sizes = np.asarray(lengths)
    epoch = 0
    while True:
        yield from _one_epoch(sizes, batch_size, np.random.default_rng([seed, epoch]))
        epoch += 1


def _one_epoch(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> Iterator[list[int]]:
    shuffled = rng.permutation(len(lengths))
    num_left_over = len(lengths) % batch_size
    left_over, kept = shuffled[:num_left_over], shuffled[num_left_over:]
    bucket_size = batch_size * BATCHES_PER_BUCKET
    batches = []
    for start in range(0, len(kept), bucket_size):
        bucket = kept[start : start + bucket_size]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    for i in rng.permutation(len(batches)):
        yield [int(sample) for sample in batches[i]]
    if num_left_over:
        yield [int(sample) for sample in left_over]
