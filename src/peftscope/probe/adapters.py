"""Checks of a trained adapter: merged, loaded, beside others, mixed with them, exchanged."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from peftscope.methods.capabilities import Finding
from peftscope.methods.context import ADAPTER
from peftscope.probe.found import attempted, no, same, unknown, yes
from peftscope.probe.specimen import EXACT, Specimen

__all__ = ["disable", "hotswap", "merge", "mixed_batches", "reload", "several", "unmerge", "weighted"]

SECOND, BOTH = "second", "both"
NO_WEIGHT = "it changes no weight of the base: what it adds depends on the input, or is put before it"
NO_ADAPTER = "it changes the base's own weights: there is no adapter"


def merge(of: Specimen) -> Finding:
    """Merged, the outputs are the adapter's."""
    if of.card.peft_type is not None and not hasattr(of.first.model, "merge_and_unload"):
        return no(NO_WEIGHT)
    merged = of.first.merge(unchecked=True)
    left = [type(module).__name__ for module in merged.modules() if type(module).__module__.startswith("peft.")]
    if left:
        return no(f"merged, {left[0]} is left in the model")
    return same(of.away(of.outputs(merged), of.first_outputs), "merged, the outputs are off")


def unmerge(of: Specimen) -> Finding:
    """Merged in place and unmerged, base and outputs are what they were."""
    if of.card.peft_type is None:
        return no(NO_ADAPTER)
    model = of.loaded()
    if not hasattr(model, "merge_adapter"):
        return no(f"{type(model).__name__} has no merge_adapter")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.merge_adapter()
    away = of.away(of.outputs(model), of.first_outputs)
    if away > EXACT:
        return same(away, "merged in place, the outputs are off")
    model.unmerge_adapter()
    off = max(
        (
            float((p - before[name]).norm() / before[name].norm().clamp_min(1e-12))
            for name, p in model.named_parameters()
        ),
        default=0.0,
    )
    if off > 1e-4:
        return no(f"unmerged, weights are off by {off:.0e} of their size")
    return same(of.away(of.outputs(model), of.first_outputs), "unmerged, the outputs are off")


def _by_peft(of: Specimen) -> Any:
    """The first adapter on a fresh base, as peft itself loads it."""
    from peft import PeftModel

    return PeftModel.from_pretrained(of.miniature.make(), str(of.first_folder)).eval()


def _with_two(of: Specimen) -> Any:
    model = _by_peft(of)
    model.load_adapter(str(of.second_folder), adapter_name=SECOND)
    return model.eval()


def reload(of: Specimen) -> Finding:
    """Loaded by peft itself on the original base, the outputs are the same."""
    if of.card.peft_type is None:
        return no(NO_ADAPTER)
    return same(
        of.away(of.outputs(_by_peft(of)), of.first_outputs), "peft's from_pretrained gives outputs that are off"
    )


def disable(of: Specimen) -> Finding:
    """Disabled, the outputs are the base's."""
    if of.card.peft_type is None:
        return no(NO_ADAPTER)
    model: Any = of.loaded()
    with model.disable_adapter():
        given = of.outputs(model)
    effect = float((of.first_outputs - of.base_outputs).norm())
    return same(float((given - of.base_outputs).norm()) / effect, "disabled, outputs differ from the base's")


def several(of: Specimen) -> Finding:
    """Two adapters on one base, each switched to, give their own outputs."""
    if of.card.peft_type is None:
        return no(NO_ADAPTER)
    if torch.equal(of.first_outputs, of.second_outputs):
        return unknown("two trainings end alike, so that nothing tells them apart")
    model = _with_two(of)
    for name, wanted in ((ADAPTER, of.first_outputs), (SECOND, of.second_outputs), (ADAPTER, of.first_outputs)):
        model.set_adapter(name)
        found = same(of.away(of.outputs(model), wanted), "switched to, an adapter's outputs are off")
        if found.value != "yes":
            return found
    return found


def mixed_batches(of: Specimen) -> Finding:
    """Rows of one batch go through two adapters and through none."""
    if of.card.peft_type is None:
        return no(NO_ADAPTER)
    model = _with_two(of)
    names = [ADAPTER, SECOND, "__base__", SECOND]
    given = of.outputs(model, adapter_names=names)
    rows = {ADAPTER: of.first_outputs, SECOND: of.second_outputs, "__base__": of.base_outputs}
    wanted = torch.stack([rows[name][row] for row, name in enumerate(names)])
    effect = float((of.first_outputs - of.base_outputs).norm())
    return same(float((given - wanted).norm()) / effect, "in a mixed batch, rows are off")


def weighted(of: Specimen) -> Finding:
    """The combination of two halves adds half of each one's change."""
    if of.card.peft_type is None:
        return no(NO_ADAPTER)
    model = of.first.model
    if not hasattr(model, "add_weighted_adapter"):
        return no(f"{type(model.base_model).__name__} has no add_weighted_adapter")
    ways: list[dict[str, str]] = [{"combination_type": name} for name in ("cat", "linear", "svd")]
    least: Finding | None = None
    for way in [*ways, {}]:
        found = attempted(lambda way=way: _combined(of, _with_two(of), way))  # type: ignore[misc]
        if found.value == "yes":
            return found
        least = found if least is None or "other than" in found.reason else least
    assert least is not None
    return least


def _combined(of: Specimen, model: Any, way: dict[str, str]) -> Finding:
    model.add_weighted_adapter([ADAPTER, SECOND], [0.5, 0.5], BOTH, **way)
    first, second = (_changes(of, of.loaded(folder), ADAPTER) for folder in (of.first_folder, of.second_folder))
    both = _changes(of, model, BOTH)
    size = sum(float((first[n] + second[n]).square().sum()) for n in both) ** 0.5 / 2
    off = sum(float((both[n] - (first[n] + second[n]) / 2).square().sum()) for n in both) ** 0.5
    if not size:
        return unknown("neither adapter changes a weight")
    return (
        yes(error=off / size)
        if off <= EXACT * size
        else no(f"combined, weights are other than the sum by {off / size:.2g}")
    )


def _changes(of: Specimen, model: Any, name: str) -> dict[str, Tensor]:
    """What one of a model's adapters changes of the base's weights."""
    held = copy.deepcopy(model)
    held.set_adapter(name)
    merged = held.merge_and_unload()
    base = dict(of.miniature.make().named_parameters())
    return {n: p.detach() - base[n].detach() for n, p in merged.named_parameters() if n in base}


def hotswap(of: Specimen) -> Finding:
    """Other weights in a loaded adapter give the other one's outputs."""
    if of.card.peft_type is None:
        return no(NO_ADAPTER)
    from peft.utils.hotswap import hotswap_adapter

    model = _by_peft(of)
    hotswap_adapter(model, str(of.second_folder), adapter_name=ADAPTER, torch_device="cpu")
    effect = float((of.second_outputs - of.base_outputs).norm())
    return same(float((of.outputs(model) - of.second_outputs).norm()) / effect, "swapped, the outputs are off")
