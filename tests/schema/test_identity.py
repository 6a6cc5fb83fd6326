"""What names a run and its conditions: what differs from the defaults, and what each field declares."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import BaseModel, create_model

from peftscope.schema.identity import COST, QUALITY, declared
from peftscope.schema.protocol import Protocol
from peftscope.schema.run import RunSpec
from peftscope.schema.study import TrainSpec
from peftscope.tuning.conditions import cost_conditions, quality_conditions

RUN = RunSpec(model="m", task="math", method="lora", learning_rate=1e-4)
ENVIRONMENT = {
    **dict.fromkeys(("system", "cpu", "num_cores", "accelerator", "peftscope", "num_threads", "num_workers")),
    "packages": dict.fromkeys(("torch", "transformers", "peft", "accelerate", "bitsandbytes")),
}
CHANGED: dict[str, Any] = {
    "model.source": "n", "model.kind": "causal-lm", "model.revision": "main", "model.dtype": "float32",
    "model.quantization": "nf4", "model.device": "cpu", "model.attn_implementation": "eager", "task": "own-data",
    "method": "oft", "learning_rate": 1e-3, "seed": 1, "vary_split": True, "purpose": "trial", "rungs": (4,),
    "train.max_steps": 7, "train.epochs": 2.0, "train.batch_size": 7, "train.accumulation": 7,
    "train.weight_decay": 0.5, "train.warmup_fraction": 0.5, "train.schedule": "linear",
    "train.grad_norm_clip": None, "train.eval_every": 7,
    "train.checkpointing": True, "train.memory": "fast", "train.autocast": True, "train.autocast_adapter_dtype": False,
    "measure.latency": False, "measure.metered_steps": 0, "measure.keep_outputs": 0,
}  # fmt: skip
KIND = SimpleNamespace(prediction="p")
BASE = SimpleNamespace(weights_sha256="w", settings_sha256="s", dtype=torch.float32)
TASK = SimpleNamespace(fingerprint=dict)


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        mark, inner = declared(field), field.annotation
        if mark is None and isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, mark


def _hashes(run: RunSpec) -> dict[str, str]:
    quality = quality_conditions(run, KIND, BASE, TASK, None)  # type: ignore[arg-type]
    protocol = Protocol(quality=quality, cost=cost_conditions(run, ENVIRONMENT))
    return {"id": run.run_id, "quality": protocol.quality_hash, "cost": protocol.cost_hash}


def _with(dotted: str, value: Any) -> RunSpec:
    raw = RUN.model_dump()
    *path, last = dotted.split(".")
    place = raw
    for name in path:
        place = place[name]
    place[last] = value
    return RunSpec.model_validate(raw)


def test_every_setting_declares_which_hashes_it_affects() -> None:
    leaves = dict(_leaves(RunSpec))
    assert all(leaves.values()), [name for name, mark in leaves.items() if mark is None]
    assert set(leaves) == set(CHANGED)


@pytest.mark.parametrize("name", CHANGED)
def test_changing_a_setting_changes_exactly_the_hashes_it_declares(name: str) -> None:
    before, after = _hashes(RUN), _hashes(_with(name, CHANGED[name]))
    changed = {key for key in before if before[key] != after[key]}
    # what decides quality decides the conditions of cost as well: these hold both
    expected = {"quality": {"id", "quality", "cost"}, "cost": {"id", "cost"}, "neither": {"id"}}
    assert changed == expected[dict(_leaves(RunSpec))[name].what]


@pytest.mark.parametrize("mark", [QUALITY, COST])
def test_a_new_setting_at_its_default_changes_no_hashes(mark: Any) -> None:
    later_train = create_model("TrainSpec", __base__=TrainSpec, later=(Annotated[Literal["no", "yes"], mark], "no"))
    later_run = create_model("RunSpec", __base__=RunSpec, train=(later_train, later_train()))
    for train in ({}, {"max_steps": 7}):
        raw = {**RUN.model_dump(exclude={"train"}), "train": train}
        before, after = RunSpec.model_validate(raw), later_run.model_validate(raw)
        assert after.run_id == before.run_id
        own = _with_models(before), _with_models(after)
        assert own[0] == own[1]
        other = later_run.model_validate({**raw, "train": {**train, "later": "yes"}})
        assert other.run_id != before.run_id


def _with_models(run: RunSpec) -> dict[str, str]:
    """Hashes as a version of peftscope would take them whose run specs have a setting more."""
    from peftscope.schema import protocol

    known = protocol.RunSpec
    protocol.RunSpec = type(run)  # type: ignore[misc]
    try:
        return _hashes(run)
    finally:
        protocol.RunSpec = known  # type: ignore[misc]


def test_an_explicit_default_gives_the_same_run_id() -> None:
    assert _with("train.max_steps", TrainSpec().max_steps).run_id == RUN.run_id
