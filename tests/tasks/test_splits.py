"""Seeded splits."""

from collections import Counter
from itertools import combinations

from peftscope.tasks.splits import num_wanted, sample, seeded_split


def test_a_split_is_a_partition_of_the_wanted_sizes():
    parts, rest = seeded_split([str(i) for i in range(100)], [10, 20], seed=0)
    assert [len(p) for p in parts] == [10, 20]
    assert Counter(i for part in (*parts, rest) for i in part) == Counter(range(100))


def test_equal_keys_stay_together():
    keys = [str(i % 30) for i in range(100)]
    parts, rest = seeded_split(keys, [10, 20], seed=0)
    where = [{keys[i] for i in part} for part in (*parts, rest)]
    assert not any(a & b for a, b in combinations(where, 2))


def test_equal_seeds_repeat_the_split_and_different_seeds_change_it():
    keys = [str(i) for i in range(100)]
    assert seeded_split(keys, [10], 1) == seeded_split(keys, [10], 1) != seeded_split(keys, [10], 2)
    assert sample(100, 10, 1) == sample(100, 10, 1) != sample(100, 10, 2)


def test_split_sizes_are_counts_or_fractions():
    assert num_wanted(7, 100, default=3) == 7
    assert num_wanted(0.25, 100, default=3) == 25
    assert num_wanted(None, 100, default=3) == 3
    assert sample(5, 10, 0) == sample(5, None, 0) == [0, 1, 2, 3, 4]
