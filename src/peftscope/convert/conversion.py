"""A trained adapter -> a plain LoRA of a rank, and how far that is from the original."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from peftscope.convert.changes import Change, Originals, Whole, changes, precision
from peftscope.convert.factors import Factors, best_factors
from peftscope.convert.inputs import Inputs, second_moments
from peftscope.methods.card import Card
from peftscope.methods.context import base_inside
from peftscope.methods.plain_lora import LoraWeights

__all__ = ["Converted", "ConvertedLayer", "convert_layers", "converted_layer", "lora_weights"]

MOMENTS_BYTES = 2**30
"""Second moments are taken of so many layers at once as fit into it; the inputs are gone through anew for more."""


@dataclass(frozen=True, kw_only=True)
class ConvertedLayer:
    """Factors of one weight's change; of fused experts, one for each."""

    module: str
    parameter: str
    form: str
    turned: bool
    change_norm: float
    """Of the change, in the Frobenius norm."""
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
    def total(self) -> float:
        """Squared norm of the change (of its outputs, where weighted)."""
        return sum(of.total for of in self.factors)

    @property
    def energies(self) -> list[float]:
        """What each further rank adds to the squared norm that is held."""
        each = [of.energies.tolist() for of in self.factors]
        return [sum(values) for values in zip_longest(*each, fillvalue=0.0)]

    @property
    def cost(self) -> int:
        """Parameters of each rank."""
        return sum(of.a.shape[1] + len(of.b) for of in self.factors)

    @property
    def error(self) -> float:
        """What is missing, as a share of the change's norm (of its outputs', where weighted)."""
        return math.sqrt(max(0.0, 1.0 - sum(self.energies) / self.total)) if self.total else 0.0


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Everything an adapter changes."""

    layers: list[ConvertedLayer]
    """As factors."""
    wholes: list[Whole]
    """As it is, where there are none."""


@torch.no_grad()
def convert_layers(
    model: nn.Module,
    card: Card,
    originals: Originals,
    *,
    most: int,
    calibration: Inputs | None,
    told: Callable[[str], None] = lambda name: None,
) -> Converted:
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
    moments = None if calibration is None else _Moments(base_inside(model), calibration)
    layers, wholes = [], []
    for change in changes(model, card, originals):
        if isinstance(change, Whole):
            wholes.append(change)
            continue
        known = None if moments is None or change.form != "linear" else moments.of(change.module)
        layers.append(converted_layer(change, known, most=most))
        told(change.name)
    return Converted(layers=layers, wholes=wholes)


def converted_layer(change: Change, moments: Tensor | None, *, most: int) -> ConvertedLayer:
    """Factors of one change.

    Args:
        change: Of a weight.
        moments: Second moments of its inputs; None, or zeros where nothing came by, counts errors of weights.
        most: Rank beyond which nothing is asked for.
    """
    if moments is not None and not float(moments.diagonal().sum()):
        moments = None
    return ConvertedLayer(
        module=change.module,
        parameter=change.parameter,
        form=change.form,
        turned=change.turned,
        change_norm=float(change.delta.norm()),
        weighted=moments is not None,
        factors=tuple(
            best_factors(matrix.to(precision(matrix.numel())), moments, most=most) for matrix in _matrices(change)
        ),
    )


def _matrices(change: Change) -> list[Tensor]:
    """A change as matrices (out, in)."""
    if change.form == "experts" and change.delta.ndim == 3:
        return list(change.delta)
    if change.form == "embedding":
        return [change.delta.T]  # a row is looked up: that is the input
    return [change.delta.flatten(1)]


class _Moments:
    """Second moments of the layers' inputs, taken of some layers at a time as they are asked for, in order.

    Args:
        base: The module whose layers they are, with the adapter on them.
        calibration: The inputs.
    """

    def __init__(self, base: nn.Module, calibration: Inputs) -> None:
        self.base, self.calibration = base, calibration
        self._groups = list(_groups(_input_widths(base)))
        self._held: dict[str, Tensor] = {}
        self._taken: list[str] | None = None

    def of(self, module: str) -> Tensor | None:
        """Those of a layer; None where its inputs are no vectors."""
        group = next((names for names in self._groups if module in names), None)
        if group is not None and group is not self._taken:
            self._held = {}  # given back before the next ones are taken
            self._held, self._taken = second_moments(self.base, group, self.calibration), group
        return self._held.get(module)


def _input_widths(base: nn.Module) -> dict[str, int]:
    """Adapted layers whose inputs can be looked at, and the width of these."""
    found: dict[str, int] = {}
    is_adapted = any(isinstance(module, BaseTunerLayer) for module in base.modules())
    for name, module in base.named_modules():
        wrapped: Any = module.get_base_layer() if isinstance(module, BaseTunerLayer) else None
        if not is_adapted and isinstance(module, nn.Linear | Conv1D):  # trained whole
            wrapped = module
        weight = getattr(wrapped, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim == 2 and not isinstance(wrapped, nn.Embedding):
            found[name] = int(weight.shape[0] if isinstance(wrapped, Conv1D) else weight.shape[1])
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


def lora_weights(layers: Sequence[ConvertedLayer]) -> list[LoraWeights]:
    """Factors in the shapes that an adapter holds."""
    return [_weights(layer) for layer in layers]


def _weights(layer: ConvertedLayer) -> LoraWeights:
    if len(layer.factors) == 1:
        (of,) = layer.factors
        parameter = layer.parameter if layer.form == "experts" else None
        return LoraWeights(module=layer.module, a=of.a, b=of.b, parameter=parameter, turned=layer.turned)
    missing = [layer.rank - of.rank for of in layer.factors]
    pad = nn.functional.pad
    return LoraWeights(
        module=layer.module,
        a=torch.stack([pad(of.a, (0, 0, 0, more)) for of, more in zip(layer.factors, missing)]),
        b=torch.stack([pad(of.b, (0, more)) for of, more in zip(layer.factors, missing)]),
        parameter=layer.parameter,
        turned=layer.turned,
    )
