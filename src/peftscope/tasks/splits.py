"""Seeded choices of rows: splits in which equal prompts stay together, and samples of a given size."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

__all__ = ["default_part", "num_wanted", "same_key", "sample", "seeded_split"]

LARGEST_DEFAULT_PART = 500


def same_key(text: str) -> str:
    """Equal for texts that differ in case, white space or the form of their characters only.

    >>> same_key("How  MANY?") == same_key("how many? ")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def default_part(num_rows: int) -> int:
    """Size of a split that is cut off others when no size is given: a tenth, at most 500.

    >>> default_part(1000), default_part(1_000_000), default_part(5)
    (100, 500, 1)
    """
    return min(LARGEST_DEFAULT_PART, max(1, num_rows // 10))


def num_wanted(size: int | float | None, num_rows: int, *, default: int) -> int:
    """A size given as a count or as a share of ``num_rows``, as a count."""
    if size is None:
        return default
    return size if isinstance(size, int) else max(1, round(size * num_rows))


def sample(num_rows: int, size: int | None, seed: int) -> list[int]:
    """A seeded choice of ``size`` indices in rising order; all where size is None or not smaller."""
    if size is None or size >= num_rows:
        return list(range(num_rows))
    chosen = np.random.default_rng([seed, num_rows]).permutation(num_rows)[:size]
    return sorted(int(i) for i in chosen)


def seeded_split(keys: Sequence[str], sizes: Sequence[int], seed: int) -> tuple[list[list[int]], list[int]]:
    """Cut parts off rows so that rows with equal keys stay together.

    Args:
        keys: One per row; rows with equal keys go into the same part.
        sizes: Wanted size of each part; a part is smaller where a group of equal keys would overfill it.
        seed: Decides which rows go where.

    Returns:
        The indices of each part, and the rest, in rising order.
    """
    groups: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    ordered = list(groups.values())
    parts: list[list[int]] = [[] for _ in sizes]
    rest: list[int] = []
    for at in np.random.default_rng([seed, len(keys)]).permutation(len(ordered)):
        group = ordered[at]
        home = next((p for p, size in zip(parts, sizes) if len(p) + len(group) <= size), rest)
        home += group
    return [sorted(part) for part in parts], sorted(rest)
