"""How large each weight's factors are: one rank for all, or a rank shared out where it cuts the error most."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from peftscope.convert.conversion import ConvertedLayer
from peftscope.convert.inputs import Inputs
from peftscope.models.evaluating import evaluating

__all__ = ["Cut", "even", "held_share", "least_size", "output_weights", "shared_out"]

PROBES = 4
"""Batches on which the weight of a layer's error is taken."""

Cut = Callable[[int], list[ConvertedLayer]]
"""Layers cut down to a size."""


def even(layers: Sequence[ConvertedLayer], size: int) -> list[ConvertedLayer]:
    """Every layer with one rank."""
    return [layer.cut(size) for layer in layers]


def shared_out(layers: Sequence[ConvertedLayer], size: int, weights: Mapping[str, float]) -> list[ConvertedLayer]:
    """Every layer with a rank of its own, of as many parameters together as one rank for all would take.

    Args:
        layers: With more directions than the size, so that some can be given more.
        size: That rank.
        weights: What the squared error of a layer's outputs counts in those of the model, by the layer's name; a layer
            of which that is not known gets the size.
    """
    apart = [layer.cut(size) for layer in layers if layer.name not in weights]
    layers = [layer for layer in layers if layer.name in weights]
    costs = [layer.cost for layer in layers]
    left = size * sum(costs)
    ranks = [0] * len(layers)
    gains = [[value * weights[layer.name] for value in layer.energies] for layer in layers]
    best = [(-gain[0] / cost, index) for index, (gain, cost) in enumerate(zip(gains, costs, strict=True)) if gain]
    heapq.heapify(best)
    while best:
        _, index = heapq.heappop(best)
        if costs[index] > left:
            continue
        left -= costs[index]
        ranks[index] += 1
        if ranks[index] < len(gains[index]):
            heapq.heappush(best, (-gains[index][ranks[index]] / costs[index], index))
    return [*apart, *(layer.cut(rank) for layer, rank in zip(layers, ranks, strict=True) if rank)]


def held_share(layers: Sequence[ConvertedLayer], all_of: Sequence[ConvertedLayer]) -> float:
    """Share of the energy of all changes that cut layers hold, each layer counting alike."""
    held = {layer.name: 1.0 - layer.error**2 for layer in layers}
    return sum(held.get(layer.name, 0.0) for layer in all_of) / len(all_of)


def least_size(most: int, is_enough: Callable[[int], bool]) -> int | None:
    """The least size up to the most that suffices; None where none does."""
    if not is_enough(most):
        return None
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return low


def output_weights(model: nn.Module, layers: Sequence[ConvertedLayer], inputs: Inputs | None) -> dict[str, float]:
    """What the squared error of each layer's outputs counts in the squared error of the model's.

    By random probes of the outputs: the mean square of what comes back to a layer is the mean square of its Jacobian.
    Layers whose errors are those of weights have none; where all are such, each counts by its share of its own change.

    Args:
        model: The base, without the adapter.
        layers: Whose weights are asked for.
        inputs: What the model is given; None where there is nothing.
    """
    watched = [layer for layer in layers if layer.weighted]
    if inputs is None or not watched:
        return {layer.name: 1.0 / total if (total := layer.total) else 0.0 for layer in layers}
    sums: dict[str, float] = {}
    modules = dict(model.named_modules())

    def watch(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def note(_: nn.Module, given: object, output: Tensor) -> None:
            if not output.requires_grad:
                output.requires_grad_(True)
            output.register_hook(lambda gradient: _add(sums, name, gradient))  # type: ignore[no-untyped-call]

        return note

    handles = [modules[layer.module].register_forward_hook(watch(layer.name)) for layer in watched]
    generator = torch.Generator().manual_seed(0)
    try:
        with evaluating(model), torch.enable_grad():
            for batch in inputs.batches[:PROBES]:
                outputs = inputs.outputs(model, batch)
                probe = torch.randn(outputs.shape, generator=generator).to(outputs)
                (outputs * probe).sum().backward()  # type: ignore[no-untyped-call]
    finally:
        for handle in handles:
            handle.remove()
        for parameter in model.parameters():
            parameter.grad = None
    return sums


def _add(sums: dict[str, float], name: str, gradient: Tensor) -> None:
    sums[name] = sums.get(name, 0.0) + float(gradient.detach().float().square().sum()) / gradient.shape[-1]
