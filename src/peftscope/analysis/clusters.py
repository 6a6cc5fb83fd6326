"""Cluster-robust variances for examples of one document, patient, template or conversation.

Errors on examples of a group are correlated, so the group is the sampling unit. Each group's contribution to the mean
replaces its examples::

    part[group] = mean + groups / examples * sum of (score - mean) over the group's examples

The contributions have the mean of the scores, and their sample variance over groups is that of the ratio estimator,
which is cluster-robust (Miller, arXiv 2411.00640). The crossed model is fitted to contributions instead of scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["codes_of", "parts_of_groups"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def codes_of(labels: Sequence[str | None]) -> Ints | None:
    """Groups by number, an example without a label being its own; None where no two examples share one."""
    named = {label: number for number, label in enumerate(dict.fromkeys(x for x in labels if x is not None))}
    lone = iter(range(len(named), len(named) + len(labels)))
    codes = np.array([next(lone) if label is None else named[label] for label in labels], dtype=np.int64)
    _, codes = np.unique(codes, return_inverse=True)
    return codes.astype(np.int64) if len(codes) and codes.max() + 1 < len(codes) else None


def parts_of_groups(scores: Floats, codes: Ints) -> Floats:
    """Scores of shape (seeds, examples) as parts of shape (seeds, groups) with the same means.

    >>> parts_of_groups(np.array([[1.0, 1.0, 0.0]]), np.array([0, 0, 1]))
    array([[1.11111111, 0.22222222]])
    """
    count = int(codes.max()) + 1
    means = scores.mean(axis=1, keepdims=True)
    around = scores - means
    sums = np.stack([np.bincount(codes, weights=row, minlength=count) for row in around])
    return np.asarray(means + count / scores.shape[1] * sums, np.float64)
