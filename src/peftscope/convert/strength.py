"""A model between its base and a trained adapter: every weight is W0 + s (W1 - W0) at a strength s.

The changes W1 - W0 are those a conversion starts from (``changes``): merged weights less the original ones. At strength
0 no weight is touched, so that the model is the base, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from peftscope.convert.changes import Change, Originals, Whole, changes, exact, kept_originals
from peftscope.convert.result import Adapter, load_base
from peftscope.methods import checkpoint
from peftscope.methods.card import Card
from peftscope.methods.catalog import WHOLE
from peftscope.methods.catalog import card as card_of
from peftscope.models.kinds.base import LoadedModel

__all__ = ["Adapted", "Interpolated", "adapted_base", "held_changes"]


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """A base with an adapter, or with a part of it, as a conversion takes it."""

    model: nn.Module
    card: Card
    """Of its method; at a strength below 1 that of a model trained whole, which the weights then are."""
    originals: Originals
    loaded: LoadedModel
    """The base it is on."""


@contextmanager
def adapted_base(
    adapter: Adapter,
    loaded: LoadedModel,
    strength: float,
    *,
    keeps_originals: bool = True,
    checked: Callable[[nn.Module], None] = lambda model: None,
) -> Iterator[Adapted]:
    """A base with an adapter at a strength.

    Args:
        adapter: What is put on it.
        loaded: The untouched base, which is used up.
        strength: Above 0, at most 1; below 1 the base is loaded once more, its weights then moved.
        keeps_originals: Whether the base's weights are needed beside it.
        checked: Called with the whole adapter on the base; may refuse it.

    Raises:
        MethodRefused: The method does not merge.
        ModelError: The base cannot be loaded again.
        StoreError: The adapter is damaged.
    """
    kept: AbstractContextManager[Originals] = nullcontext({})
    if keeps_originals or strength != 1.0:
        kept = kept_originals(loaded.model, adapter.card)
    with kept as originals:
        model = checkpoint.load(loaded.model, adapter.folder, adapter.card)
        checked(model)
        if strength == 1.0:
            yield Adapted(model=model, card=adapter.card, originals=originals, loaded=loaded)
            return
        found = held_changes(model, adapter.card, originals)
    del model, loaded
    fresh, whole = load_base(adapter), card_of(WHOLE)
    with kept_originals(fresh.model, whole) as originals:
        Interpolated(fresh.model, found).move(strength)
        yield Adapted(model=fresh.model.eval(), card=whole, originals=originals, loaded=fresh)


def held_changes(model: nn.Module, card: Card, originals: Originals) -> list[Change | Whole]:
    """Everything an adapter changes, in single precision on the CPU: all of it is held at once.

    Raises:
        MethodRefused: The method does not merge.
    """
    return [
        each if isinstance(each, Whole) else replace(each, delta=each.delta.to("cpu", torch.float32))
        for each in changes(model, card, originals)
    ]


@dataclass(frozen=True, kw_only=True)
class _Step:
    """What is done to one parameter."""

    module: nn.Module
    parameter: str
    delta: Tensor | None
    """W1 - W0 in the base's own orientation, on the CPU; None where ``value`` is known in its place."""
    value: Tensor | None

    def at(self, strength: float) -> Tensor:
        """The parameter at a strength, computed as precisely as changes are."""
        weight = getattr(self.module, self.parameter).detach()
        before = exact(weight)
        if self.delta is not None:
            delta = self.delta.to(before)
        else:
            assert self.value is not None
            delta = self.value.to(before) - before
        moved: Tensor = (before + strength * delta).to(weight)
        return moved


class Interpolated:
    """A base whose weights can be moved towards those of an adapter, and back.

    Args:
        base: The untouched base, which is used and given back as it was.
        changes: What the adapter changes of it, as ``held_changes`` gives it.
    """

    def __init__(self, base: nn.Module, changes: Iterable[Change | Whole]) -> None:
        self.base = base
        self._steps = [_step(base, change) for change in changes]

    @contextmanager
    def at(self, strength: float) -> Iterator[nn.Module]:
        """The model at a strength, as long as inside; afterwards the base has its own parameters again.

        Parameters are replaced module by module and not written into: a weight that modules share is moved only where
        the adapter is on it.

        Args:
            strength: 0 is the base, 1 the adapter merged into it.
        """
        own = [(step, step.module._parameters[step.parameter]) for step in self._steps]
        try:
            self.move(strength)
            yield self.base
        finally:
            for step, parameter in own:
                step.module._parameters[step.parameter] = parameter

    def move(self, strength: float) -> None:
        """Give the untouched base the parameters of a strength, to stay."""
        for step in self._steps if strength != 0.0 else ():
            step.module._parameters[step.parameter] = nn.Parameter(step.at(strength), requires_grad=False)


def _step(base: nn.Module, change: Change | Whole) -> _Step:
    module = base.get_submodule(change.module)
    if isinstance(change, Whole):
        return _Step(module=module, parameter=change.parameter, delta=None, value=change.value)
    delta = change.delta.transpose(-1, -2) if change.turned else change.delta
    return _Step(module=module, parameter=change.parameter, delta=delta, value=None)
