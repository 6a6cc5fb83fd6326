"""A trial cannot read the test split, by whatever way."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from torch import nn

from peftscope.errors import DataError, SplitSealed
from peftscope.tasks.base import Task
from peftscope.tasks.sealed import sealed
from tasks.toy import RegressionTask


def test_sealing_blocks_all_access_to_the_test_split_only() -> None:
    task = RegressionTask()
    closed, model = sealed(task), nn.Linear(4, 4)
    ways = {
        "size": closed.size,
        "eval_batches": lambda split: list(closed.eval_batches(split)),
        "score": lambda split: closed.score(model, None, split),
        "show": lambda split: closed.show(split, 0),
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
    assert closed.fingerprint() == task.fingerprint()
    assert next(closed.batches(0))["indices"] == next(task.batches(0))["indices"]
    assert (closed.name, closed.version, closed.unit) == (task.name, task.version, task.unit)


def test_the_sealed_task_forwards_every_method_of_the_interface() -> None:
    class Telling(RegressionTask):
        def __getattribute__(self, name: str) -> Any:
            asked.append(name)
            return super().__getattribute__(name)

    asked: list[str] = []
    closed = sealed(Telling())
    members = {name: member for name, member in vars(Task).items() if not name.startswith("_")}
    assert {"largest_scoring", "save_cache", "resplit", "cache_key", "from_cache"} <= set(members)
    for name, member in members.items():
        asked.clear()
        if isinstance(member, property):
            getattr(closed, name)
        else:
            with suppress(TypeError, DataError):  # called without what it needs: reaching the task is what counts
                getattr(closed, name)()
        assert name in asked, f"{name} of a sealed task is not the task's own"
