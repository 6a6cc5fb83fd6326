"""A trial cannot read the test split, by whatever way."""

from __future__ import annotations

import pytest
from torch import nn

from peftscope.errors import SplitSealed
from peftscope.tasks.base import Task
from peftscope.tasks.sealed import SealedTask
from tasks.toy import RegressionTask


def test_every_way_to_the_test_split_is_closed_and_every_other_open() -> None:
    task = RegressionTask()
    sealed, model = SealedTask(task), nn.Linear(4, 4)
    ways = {
        "size": sealed.size,
        "eval_batches": lambda split: list(sealed.eval_batches(split)),
        "score": lambda split: sealed.score(model, None, split),
        "show": lambda split: sealed.show(split, 0),
    }
    takes_split = {
        name for name in Task.__abstractmethods__ if "split" in getattr(getattr(Task, name), "__annotations__", {})
    }
    assert takes_split == set(ways)
    for way in ways.values():
        with pytest.raises(SplitSealed):
            way("test")
        way("valid")
        way("train")
    assert sealed.fingerprint() == task.fingerprint()
    assert next(sealed.batches(0))["indices"] == next(task.batches(0))["indices"]
    assert (sealed.name, sealed.version, sealed.unit) == (task.name, task.version, task.unit)
