"""What the tests of studies share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from peftscope.schema.run import RunSpec


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory, make_run: Callable[..., RunSpec]) -> dict[str, object]:
    """A study of two methods on a tiny model."""
    run = make_run("lora", train={"max_steps": 2}).model_dump(mode="json")
    return {
        "name": "front",
        "model": run["model"]["source"],
        "task": {"name": run["task"]["name"], **run["task"]["options"], "general_tokens": 0},
        "methods": ["lora", "ia3"],
        "seeds": [0, 1],
        "train": {"max_steps": 2},
        "measure": {"latency": False},
    }
