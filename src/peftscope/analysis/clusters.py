"""Examples that hang together: those of one document, patient, template or conversation count as one.

Answers to examples of a group err together, so a group is the unit that was drawn. Each group's part of the mean takes
the place of its examples::

    part[group] = mean + groups / examples * sum of (score - mean) over the group's examples

The parts have the same mean as the scores, and their variance over groups is that of the ratio estimator, which is
cluster-robust (Miller, arXiv 2411.00640) with the small-sample correction of as many groups as there are. The crossed
model then holds for parts as it does for scores, of a technique as of differences.
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
