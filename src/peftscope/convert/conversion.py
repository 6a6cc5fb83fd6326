"""A trained adapter -> a plain LoRA of a rank, and how far that is from the original."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from peftscope.convert.changes import Change, Originals, changes
from peftscope.convert.factors import Factors, best_factors
from peftscope.convert.inputs import second_moments
from peftscope.methods.card import Card
from peftscope.methods.plain_lora import LoraWeights
from peftscope.models.kinds.likeness import Likeness

__all__ = ["ConvertedLayer", "convert_layers", "lora_weights", "uniform_rank"]

MOMENTS_BYTES = 2**30
"""Second moments are taken of so many layers at once as fit into it; the inputs are gone through anew for more."""


@dataclass(frozen=True, kw_only=True)
class ConvertedLayer:
    """Factors of one weight's change; of fused experts, one for each."""

    module: str
    parameter: str
    form: str
    turned: bool
    shape: tuple[int, ...]
    """Of the change."""
    change_norm: float
    """Of the change, in the Frobenius norm …"""
    weight_norm: float
    """… and of the weight it is added to."""
    weighted: bool
    """Whether errors are those of outputs on real inputs, not of weights."""
    factors: tuple[Factors, ...]

    @property
    def name(self) -> str:
        """Full name of the weight."""
        return f"{self.module}.{self.parameter}"

    @property
    def rank(self) -> int:
        """The largest held."""
        return max(of.rank for of in self.factors)

    def cut(self, rank: int) -> ConvertedLayer:
        """The same with a smaller rank."""
        return replace(self, factors=tuple(of.cut(rank) for of in self.factors))

    @property
    def error(self) -> float:
        """What is missing, as a share of the change's norm (of its outputs', where weighted)."""
        total = sum(of.total for of in self.factors)
        held = sum(float(of.energies.sum()) for of in self.factors)
        return math.sqrt(max(0.0, 1.0 - held / total)) if total else 0.0


@torch.no_grad()
def convert_layers(
    model: nn.Module,
    card: Card,
    originals: Originals,
    *,
    most: int,
    calibration: Likeness | None,
    told: Callable[[str], None] = lambda name: None,
) -> list[ConvertedLayer]:
    """Factors of everything an adapter changes.

    Args:
        model: The base with the trained adapter on it.
        card: Of its method.
        originals: Weights of the base, where the method changed them.
        most: Rank beyond which nothing is asked for.
        calibration: Inputs on which errors count; None counts errors of weights.
        told: Called with the name of each weight that is done.

    Raises:
        MethodRefused: A plain LoRA cannot hold it.
    """
    moments = None if calibration is None else _Moments(_inner(model), calibration)
    layers = []
    for change in changes(model, card, originals):
        known = None if moments is None or change.form != "linear" else moments.of(change.module)
        layers.append(_converted(change, known, most))
        told(change.name)
    return layers


def _converted(change: Change, moments: Tensor | None, most: int) -> ConvertedLayer:
    return ConvertedLayer(
        module=change.module,
        parameter=change.parameter,
        form=change.form,
        turned=change.turned,
        shape=tuple(change.delta.shape),
        change_norm=float(change.delta.norm()),
        weight_norm=float(change.weight.norm()),
        weighted=moments is not None,
        factors=tuple(best_factors(matrix, moments, most=most) for matrix in _matrices(change)),
    )


def _matrices(change: Change) -> list[Tensor]:
    """A change as matrices (out, in)."""
    if change.form == "experts":
        return list(change.delta)
    if change.form == "embedding":
        return [change.delta.T]  # a row is looked up: that is the input
    return [change.delta.flatten(1)]


def _inner(model: nn.Module) -> Any:
    """The base inside, whose modules bear the base's names."""
    holder: Any = model
    return holder.base_model.model if hasattr(holder, "peft_config") else model


class _Moments:
    """Second moments of the layers' inputs, taken of some layers at a time as they are asked for, in order.

    Args:
        base: The module whose layers they are, with the adapter on them.
        calibration: The inputs.
    """

    def __init__(self, base: nn.Module, calibration: Likeness) -> None:
        self.base, self.calibration = base, calibration
        self._groups = list(_groups(_input_widths(base)))
        self._held: dict[str, Tensor] = {}

    def of(self, module: str) -> Tensor | None:
        """Those of a layer; None where its inputs are no vectors."""
        if module not in self._held:
            group = next((names for names in self._groups if module in names), [])
            self._held = second_moments(self.base, group, self.calibration) if group else self._held
        return self._held.get(module)


def _input_widths(base: nn.Module) -> dict[str, int]:
    """Adapted layers whose inputs can be looked at, and the width of these."""
    found: dict[str, int] = {}
    for name, module in base.named_modules():
        wrapped = module.get_base_layer() if isinstance(module, BaseTunerLayer) else None
        weight = getattr(wrapped, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim == 2 and not isinstance(wrapped, nn.Embedding):
            found[name] = int(weight.shape[0] if type(wrapped).__name__ == "Conv1D" else weight.shape[1])
    return found


def _groups(widths: dict[str, int]) -> Iterator[list[str]]:
    """Layers whose moments fit into memory together."""
    group: list[str] = []
    held = 0
    for name, width in widths.items():
        size = 4 * width * width
        if group and held + size > MOMENTS_BYTES:
            yield group
            group, held = [], 0
        group.append(name)
        held += size
    if group:
        yield group


def uniform_rank(layers: Sequence[ConvertedLayer], share: float) -> int:
    """Least rank, the same for all, that holds a share of the energy of all changes, each counting alike."""
    most = max(layer.rank for layer in layers)
    for rank in range(1, most + 1):
        held = [1.0 - layer.cut(rank).error ** 2 for layer in layers]
        if sum(held) >= share * len(held) - 1e-12:
            return rank
    return most


def lora_weights(layers: Sequence[ConvertedLayer]) -> dict[str, LoraWeights]:
    """Factors in the shapes that an adapter holds, by the module's name."""
    found = {}
    for layer in layers:
        a, b = [of.a for of in layer.factors], [of.b for of in layer.factors]
        rank = layer.rank
        if layer.form == "experts":
            weights = LoraWeights(
                a=torch.stack([nn.functional.pad(each, (0, 0, 0, rank - len(each))) for each in a]),
                b=torch.stack([nn.functional.pad(each, (0, rank - each.shape[1])) for each in b]),
                parameter=layer.parameter,
                turned=layer.turned,
            )
        else:
            weights = LoraWeights(a=a[0], b=b[0], turned=layer.turned)
        found[layer.module] = weights
    return found
