"""What a conversion takes is said before it is begun, from configs alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import peftscope as ps
from peftscope.convert.forecast import Speed, forecast
from peftscope.convert.result import Wish
from peftscope.errors import MethodRefused, ModelError, SpecError
from peftscope.methods import checkpoint
from peftscope.methods.build import BuildContext, build
from peftscope.models.kinds.registry import kind
from peftscope.schema.study import MethodSpec, ModelSpec
from peftscope.study.adapters import find_adapter

CONFIGS = Path(__file__).parents[1] / "configs"
SPEED = Speed(single=3e11, double=1.5e11, eigen=9e10, copied=6e9)


@pytest.fixture
def adapter(
    tiny_folder: Path, make_base: Callable[[], Any], context: Callable[..., Any], tmp_path: Path
) -> Callable[[str], Path]:
    """Makes an untrained adapter of a method and gives its folder."""

    def make(name: str) -> Path:
        checkpoint.save(build(make_base(), MethodSpec(name=name), context()), tmp_path / name, base=str(tiny_folder))
        return tmp_path / name

    return make


@pytest.mark.parametrize("method", ["oft", "dora", "adalora", "vera", "lokr"])
def test_a_base_of_three_billion_is_planned_without_its_weights(method: str, adapter: Callable[[str], Path]) -> None:
    found = find_adapter(str(adapter(method)), str(CONFIGS / "llama-3.2-3b.json"), None)
    plan = forecast(found, Wish(rank=64), rows=2048, kept_bytes=2**28, speed=SPEED)
    itemsize = plan.base_bytes / 3_212_749_824
    assert itemsize == pytest.approx(round(itemsize), rel=0.01)
    assert plan.num_layers % 28 == 0
    assert 0 < plan.layer_bytes < 0.25 * plan.base_bytes
    assert plan.peak_bytes < 1.5 * plan.base_bytes
    assert 60 < plan.convert_s < 3600
    larger = forecast(found, Wish(rank=256), rows=2048, kept_bytes=2**28, speed=SPEED)
    assert larger.convert_s > plan.convert_s


def test_the_command_says_it_and_writes_nothing(adapter: Callable[[str], Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "peftscope", "convert", str(adapter("oft")), "--plan"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, cwd=tmp_path, check=True)
    document = json.loads(done.stdout)
    assert document["schema"] == "peftscope.convert-plan/1"
    assert document["method"] == "oft"
    assert document["peak_bytes"] > document["base_bytes"] > 0
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "weights to convert; about" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["oft"]
    done = subprocess.run(command[:-1], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "--output: say which folder" in done.stderr


@pytest.mark.slow
def test_a_model_576_wide_is_converted_in_the_memory_and_about_the_time_that_was_foretold(tmp_path: Path) -> None:
    code = (
        "import json, sys, time; import peftscope as ps; from peftscope.study.conversion import convert\n"
        # not ru_maxrss, which begins with the peak of the process that started this one
        "peak = lambda: int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
        "idle, begun = peak(), time.perf_counter();"
        f"convert({str(tmp_path / 'oft')!r}, {str(tmp_path / 'out')!r}, rank=32);"
        "print(json.dumps([1024 * (peak() - idle), time.perf_counter() - begun]))"
    )
    spec = ModelSpec(source="builtin:smollm2-135m", dtype="float32", device="cpu")
    base = kind("causal-lm").load(spec)
    built = build(
        base.model, MethodSpec(name="oft"), BuildContext(seed=0, max_steps=1, learning_rate=1e-3, warn=lambda _: None)
    )
    torch.manual_seed(0)
    for parameter in built.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.005 * torch.randn_like(parameter)
    checkpoint.save(built, tmp_path / "oft", base=spec.source)
    del built, base
    plan = ps.plan_conversion(tmp_path / "oft", model=spec.source, rank=32).forecast
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    memory, seconds = json.loads(done.stdout.splitlines()[-1])
    assert 0.6 * plan.peak_bytes < memory < 1.3 * plan.peak_bytes
    assert seconds < 3 * (plan.convert_s + plan.compare_s)


def test_inputs_are_counted_without_their_padding(make_base: Callable[[], Any]) -> None:
    from peftscope.convert.inputs import Inputs, second_moments

    model = make_base()
    ids = torch.arange(5, 13).view(1, 8)
    padded = torch.cat([torch.full((1, 4), 9), ids], dim=1)

    def moments(batch: dict[str, Tensor]) -> Tensor:
        inputs = Inputs(kind=kind("causal-lm"), processor=None, batches=[batch])
        name = "model.layers.0.mlp.gate_proj"
        return second_moments(model, [name], inputs)[name]

    mask = torch.cat([torch.zeros(1, 4, dtype=torch.long), torch.ones_like(ids)], dim=1)
    alone = moments({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    beside = moments({"input_ids": padded, "attention_mask": mask})
    assert torch.allclose(alone, beside, atol=1e-4)


def test_what_cannot_be_converted_or_does_not_fit_the_base_is_not_planned(
    adapter: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(MethodRefused, match="cannot be converted"):
        ps.plan_conversion(adapter("prompt-tuning"))
    with pytest.raises(SpecError, match="rank: 0; must be"):
        ps.plan_conversion(adapter("oft"), rank=0)
    other = adapter("lokr")
    text = (other / "adapter_config.json").read_text()
    config = json.loads(text)
    (other / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["nothing_like_it"]}))
    with pytest.raises(ModelError, match="does not go on this base"):
        ps.plan_conversion(other)
