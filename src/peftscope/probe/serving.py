"""Checks of conversion to a plain LoRA and of what serves one; what an adapter costs in use."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from peftscope.convert.changes import kept_originals
from peftscope.convert.conversion import Converted, convert_layers, lora_weights
from peftscope.convert.layouts import Home, Layout
from peftscope.methods import checkpoint
from peftscope.methods.capabilities import Finding
from peftscope.methods.context import ADAPTER
from peftscope.methods.plain_lora import attach_plain_lora
from peftscope.probe.adapters import NO_ADAPTER, NO_WEIGHT, mixed_batches
from peftscope.probe.found import no, same, unknown, yes
from peftscope.probe.specimen import Specimen

__all__ = ["adapters_at_once", "convert", "latency", "peft_convert", "served_by_diffusers", "served_by_text_server"]

WHOLE_RANK = 10_000
NEARLY_ALL = 0.999_999
"""Share of the squared singular values that peft's conversion holds; for all of them it may want a rank too many."""
AT_ONCE = 32
WARM_UP, REPEATS = 3, 15


@dataclass(frozen=True)
class _Plain:
    """The converted adapter."""

    model: Any
    converted: Converted
    rank: int


def _converted(of: Specimen) -> _Plain | Finding:
    """As a plain LoRA of full rank on a fresh base; or why there is none. Done once."""
    if "plain" not in of.kept:
        of.kept["plain"] = _convert(of)
    found: _Plain | Finding = of.kept["plain"]
    return found


def _convert(of: Specimen) -> _Plain | Finding:
    base = of.miniature.make()
    with kept_originals(base, of.card) as originals:
        adapted = of.loaded(base=base)
        found = convert_layers(adapted, of.card, originals, most=WHOLE_RANK, calibration=None)
    layers = [layer for layer in found.layers if layer.rank]
    if not layers:
        if not found.wholes:
            return no(NO_WEIGHT)
        return no(f"it changes {found.wholes[0].name} and its like alone, for which LoRA has no factors")
    model = attach_plain_lora(
        of.miniature.make(),
        lora_weights(layers),
        task_type=of.miniature.task_type,
        wholes={whole.name: whole.value for whole in found.wholes},
    )
    return _Plain(model.eval(), Converted(layers=layers, wholes=found.wholes), max(layer.rank for layer in layers))


def convert(of: Specimen) -> Finding:
    """Ours, of full rank, on the original base."""
    plain = _converted(of)
    if isinstance(plain, Finding):
        return plain
    return same(of.away(of.outputs(plain.model), of.first_outputs), "converted, the outputs are off")


def peft_convert(of: Specimen) -> Finding:
    """``peft``'s, of full rank, on the original base."""
    if of.card.peft_type is None:
        return no(NO_ADAPTER)
    from peft import get_peft_model, set_peft_model_state_dict
    from peft.tuners.lora.conversion import convert_to_lora

    config, state = convert_to_lora(of.loaded(), NEARLY_ALL)
    plain: Any = get_peft_model(of.miniature.make(), config)
    set_peft_model_state_dict(plain, state)
    return same(of.away(of.outputs(plain.eval()), of.first_outputs), "it reports success, and the outputs are off")


def served_by_text_server(of: Specimen, layout: Layout) -> Finding:
    """What vLLM or llama.cpp demand of a LoRA, the converted adapter has."""
    if of.miniature.kind is None:
        return unknown("it serves models that continue a text")
    plain = _converted(of)
    if isinstance(plain, Finding):
        return plain
    away = convert(of)
    if away.value != "yes":
        return away
    model = of.miniature.make()
    home = Home(layout, None, of.miniature.kind.gguf(model) if layout == "gguf" else None)
    home.require(plain.converted.layers, plain.converted.wholes, rank=plain.rank)
    return yes()


def served_by_diffusers(of: Specimen) -> Finding:
    """diffusers loads the converted adapter, and its outputs are the adapter's."""
    part = of.miniature.part
    if part is None:
        return unknown("it serves models that draw")
    plain = _converted(of)
    if isinstance(plain, Finding):
        return plain
    home = Home("diffusers", part)
    home.require(plain.converted.layers, plain.converted.wholes, rank=plain.rank)
    with TemporaryDirectory(prefix="peftscope-") as place:
        checkpoint.save_adapter(plain.model, Path(place), base="base", revision=None)
        home.lay_out(Path(place))
        served: Any = of.miniature.make()
        file = next(Path(place).glob("*.safetensors"))
        served.load_lora_adapter(str(place), prefix=part, weight_name=file.name)
        return same(of.away(of.outputs(served.eval()), of.first_outputs), "served by diffusers, the outputs are off")


def _seconds(run: Callable[[], object], repeats: int = REPEATS) -> float:
    for _ in range(WARM_UP):
        run()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def latency(of: Specimen) -> Finding:
    """A forward pass with the adapter beside one of the base."""
    base, model = of.miniature.make(), of.first.model
    return yes(ratio=_seconds(lambda: of.outputs(model)) / _seconds(lambda: of.outputs(base)))


def adapters_at_once(of: Specimen) -> Finding:
    """A batch through many adapters, beside one through the same adapter for all rows."""
    two = mixed_batches(of)
    if two.value != "yes":
        return two
    from peft import PeftModel

    names = [ADAPTER, *(f"a{number}" for number in range(1, AT_ONCE))]
    model: Any = PeftModel.from_pretrained(of.miniature.make(), str(of.first_folder))
    for number, name in enumerate(names[1:]):
        model.load_adapter(str(of.second_folder if number % 2 == 0 else of.first_folder), adapter_name=name)
    model.eval()
    batch = of.miniature.batch(57, AT_ONCE)
    given = of.miniature.outputs(model, batch, adapter_names=names)
    wanted = of.miniature.outputs(of.loaded(), batch)
    wanted[1::2] = of.miniature.outputs(of.loaded(of.second_folder), batch)[1::2]
    effect = float((wanted - of.miniature.outputs(of.miniature.make(), batch)).norm())
    found = same(float((given - wanted).norm()) / effect, "in a batch of 32 adapters, rows are off")
    if found.value != "yes":
        return found
    with torch.no_grad():
        many = _seconds(lambda: of.miniature.outputs(model, batch, adapter_names=names), 7)
        one = _seconds(lambda: of.miniature.outputs(model, batch), 7)
    size = sum(file.stat().st_size for file in of.first_folder.glob("*.safetensors"))
    return yes(ratio=many / one, bytes=size)
