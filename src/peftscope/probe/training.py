"""Checks of training: on a sort of model, a type of layer, a quantized base; what it may be combined with."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from peftscope.methods import checkpoint
from peftscope.methods.build import Built
from peftscope.methods.capabilities import Finding
from peftscope.methods.config_class import config_fields
from peftscope.probe.found import no, same, unknown, yes
from peftscope.probe.specimen import EXACT, Specimen, trained_weights
from peftscope.schema.study import TrainSpec
from peftscope.training.memory_settings import prepare

__all__ = [
    "checkpointing",
    "compiles",
    "determinism",
    "modules_to_save",
    "quantized",
    "trainable_tokens",
    "trains",
]


def trains(of: Specimen) -> Finding:
    """Trained, the outputs move; saved and loaded on the original base, they are the same again."""
    if of.miniature.targets and "target_modules" not in _config_fields(of):
        return no("its config names no modules to adapt")
    built = of.first
    if (stuck := _unmoved(of.base_outputs, of.first_outputs)) is not None:
        return stuck
    if of.miniature.targets and built.card.peft_type is not None and not built.adapted_modules:
        return no("nothing of the model was adapted")
    return same(of.away(of.outputs(of.loaded()), of.first_outputs), "loaded from its checkpoint, outputs are off")


def _unmoved(before: Tensor, after: Tensor) -> Finding | None:
    """A no where training left the outputs as they were, or not finite."""
    if not torch.isfinite(after).all():
        return no("trained a few steps, its outputs are not finite")
    return no("trained, it changes nothing of the outputs") if torch.equal(before, after) else None


def _config_fields(of: Specimen) -> frozenset[str]:
    """Fields of the method's config; of full fine-tuning those of any layer that holds weights."""
    return frozenset({"target_modules"}) if of.card.peft_type is None else config_fields(of.card.peft_type)


def quantized(of: Specimen, how: str) -> Finding:
    """Trained on a quantized base, saved, and loaded on another of the same."""
    if of.miniature.quantized is None:
        return unknown("such models are not quantized here")
    with TemporaryDirectory(prefix="peftscope-") as place:
        packed = of.miniature.quantized(how, Path(place) / "base")
        before = of.outputs(packed)
        built = of.build(packed)
        is_whole = built.card.peft_type is None
        weights = {n: p.detach().dequantize().clone() for n, p in built.model.named_parameters()} if is_whole else {}
        of.train(built)
        after = of.outputs(built.model)
        if (stuck := _unmoved(before, after)) is not None:
            return stuck
        if is_whole:
            still = [
                name
                for name, p in built.model.named_parameters()
                if torch.equal(p.detach().dequantize(), weights[name])
            ]
            return no(f"trained whole, {still[0]} and its like stay as they are") if still else yes()
        checkpoint.save(built, Path(place) / "adapter", base="base")
        fresh = of.miniature.quantized(how, Path(place) / "again")
        loaded = checkpoint.load(fresh, Path(place) / "adapter", of.card)
        away = float((of.outputs(loaded) - after).norm() / (after - before).norm())
        return same(away, "loaded from its checkpoint, outputs are off")


def _gradients(of: Specimen, built: Built, model: nn.Module | None = None, *, seed: int = 3) -> dict[str, Tensor]:
    built.model.zero_grad()
    built.model.train()
    torch.manual_seed(seed)
    of.backward(built, of.batch_with_labels, model)
    built.model.eval()
    return {
        name: parameter.grad.detach().clone()
        for name, parameter in built.model.named_parameters()
        if parameter.requires_grad and parameter.grad is not None
    }


def _apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest distance of two sets of gradients, as a share of their size; infinite where one lacks some."""
    if one.keys() != other.keys() or not one:
        return float("inf")
    size = sum(float(tensor.square().sum()) for tensor in one.values()) ** 0.5
    off = sum(float((one[name] - other[name]).square().sum()) for name in one) ** 0.5
    return off / size if size else float("inf")


def checkpointing(of: Specimen) -> Finding:
    """Gradients with recomputed activations are those without."""
    plain = of.build()
    wanted = _gradients(of, plain)
    base = of.miniature.make()
    prepare(base, TrainSpec(checkpointing=True))
    built = of.build(base)
    away = _apart(wanted, _gradients(of, built))
    return yes(error=away) if away <= EXACT else no("gradients are not those of training without it")


def compiles(of: Specimen) -> Finding:
    """Gradients of the compiled model are those of the plain one."""
    built = of.build()
    wanted = _gradients(of, built)
    torch.compiler.reset()
    compiled: Any = torch.compile(built.model, backend="aot_eager")
    away = _apart(wanted, _gradients(of, built, compiled))
    torch.compiler.reset()
    if away > EXACT and _apart(wanted, _gradients(of, built, seed=4)) > EXACT:
        return unknown("it draws random numbers in training, and compiled ones are drawn otherwise")
    return yes(error=away) if away <= EXACT else no("compiled, the gradients are others")


def determinism(of: Specimen) -> Finding:
    """Two trainings of a seed end alike, bit for bit."""
    again = of.build(seed=0)
    of.train(again, seed=0)
    one, other = of.first_weights, trained_weights(again)
    alike = one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    return yes() if alike else no("two trainings of one seed end with other weights")


def modules_to_save(of: Specimen) -> Finding:
    """A head trained whole beside the adapter moves, and comes back."""
    if of.card.peft_type is None:
        return yes()  # all modules are
    if of.miniature.head is None:
        return unknown("the model has no head of its own")
    if "modules_to_save" not in _config_fields(of):
        return no("its config has no modules_to_save")
    name = of.miniature.head.rpartition(".")[2]
    with TemporaryDirectory(prefix="peftscope-") as place:
        built = of.build(knobs={"modules_to_save": [name]})
        held = [p for n, p in built.model.named_parameters() if f"{name}.modules_to_save" in n]
        before = [p.detach().clone() for p in held]
        of.train(built)
        if not held or all(torch.equal(p, old) for p, old in zip(held, before)):
            return no(f"{name} is not trained beside it")
        checkpoint.save(built, Path(place), base="base")
        away = of.away(of.outputs(of.loaded(Path(place))), of.outputs(built.model))
        return same(away, "loaded from its checkpoint, outputs are off")


def trainable_tokens(of: Specimen) -> Finding:
    """Two rows of the table are trained beside the adapter, and no other."""
    if of.card.peft_type is None:
        return no("it trains every row")
    if of.miniature.table is None:
        return unknown("the model has no table of tokens")
    known = _config_fields(of)
    if "trainable_token_indices" not in known:
        own = "token_indices" in known
        return no("tokens are all it trains" if own else "its config has no trainable_token_indices")
    name = of.miniature.table.rpartition(".")[2]
    built = of.build(knobs={"trainable_token_indices": {name: list(of.miniature.tokens)}})
    held = [p for n, p in built.model.named_parameters() if "trainable_tokens_delta" in n and p.requires_grad]
    before = [p.detach().clone() for p in held]
    of.train(built)
    if not held or any(torch.equal(row, old) for p, was in zip(held, before) for row, old in zip(p, was)):
        return no("the rows are not trained beside it")
    table = of.miniature.make().get_submodule(of.miniature.table).get_parameter("weight")
    tables = [p for n, p in built.model.named_parameters() if f"{name}." in n and p.shape == table.shape]
    if any(len(p) != len(of.miniature.tokens) for p in held) or not all(torch.equal(p, table) for p in tables):
        return no("other rows are trained, too")
    return yes()
