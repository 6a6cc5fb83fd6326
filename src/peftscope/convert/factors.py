"""The best factors of low rank of a change: of its weights, or of the outputs it makes of real inputs.

With the second moments S = E[x xᵀ] of a layer's inputs, the factors minimise the mean squared error of its outputs,
‖(Δ − B A) S^½‖ in the Frobenius norm, which a truncated singular value decomposition of Δ S^½ solves. Without them S is
the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Factors", "best_factors"]

DAMPING = 1e-9
"""Share of the mean second moment that is added to each, so that no direction counts nothing."""
LARGE = 4096
"""Smaller side from which on the leading directions are found by subspace iteration."""
BEYOND = 32
"""Directions the iteration follows beyond those that are wanted."""
CLOSE = 1e-6
"""Share of the energy found that one more turn may still add."""
MOST_TURNS = 60
EXACT = 1e-13
"""Share of the largest energy below which a direction is rounding."""


@dataclass(frozen=True, kw_only=True)
class Factors:
    """A change as a product, direction by direction, the most important first."""

    a: Tensor
    """(k, in), float32, on the CPU."""
    b: Tensor
    """(out, k), likewise."""
    energies: Tensor
    """(k), what each direction adds to the squared norm of the change, of its outputs where inputs are known."""
    total: float
    """Of all directions there are."""

    @property
    def rank(self) -> int:
        """Directions held."""
        return len(self.energies)

    def cut(self, rank: int) -> Factors:
        """The first of them."""
        return Factors(a=self.a[:rank], b=self.b[:, :rank], energies=self.energies[:rank], total=self.total)


def best_factors(delta: Tensor, moments: Tensor | None, *, most: int) -> Factors:
    """The leading directions of a change.

    Args:
        delta: (out, in), float64.
        moments: (in, in) second moments of the inputs; None counts all inputs alike.
        most: Directions that may be wanted.
    """
    scaled = delta
    if moments is not None:
        scaled = delta @ _root(moments.to(delta))
    total = float(scaled.square().sum())
    if total == 0.0:
        rows, columns = delta.shape
        return Factors(a=torch.zeros(0, columns), b=torch.zeros(rows, 0), energies=torch.zeros(0), total=0.0)
    tall = scaled.shape[0] > scaled.shape[1]
    energies, directions = _leading(scaled.T if tall else scaled, most)
    if tall:  # from the right singular vectors to the left ones
        directions = torch.linalg.qr(scaled @ directions).Q
    kept = [tensor.to("cpu", torch.float32, copy=True) for tensor in (directions.T @ delta, directions)]
    return Factors(a=kept[0], b=kept[1], energies=energies.cpu().clone(), total=total)


def _leading(matrix: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Energies (k) and left singular vectors (rows, k) of a wide matrix, the largest first."""
    if len(matrix) >= LARGE and most + BEYOND < len(matrix) // 4:
        return _by_iteration(matrix, most)
    values, vectors = torch.linalg.eigh(matrix @ matrix.T)
    return _largest(values, vectors, most)


def _largest(values: Tensor, vectors: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The first of ascending eigenvalues and their vectors, turned round, without those that are rounding."""
    values, vectors = values.flip(0)[:most].clamp_min(0.0), vectors.flip(1)[:, :most]
    kept = int((values > EXACT * values[0]).sum())
    return values[:kept], vectors[:, :kept]


def _by_iteration(matrix: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The same by subspace iteration, until another turn finds no more energy."""
    generator = torch.Generator(matrix.device).manual_seed(0)
    start = torch.randn(matrix.shape[1], most + BEYOND, dtype=matrix.dtype, device=matrix.device, generator=generator)
    basis = torch.linalg.qr(matrix @ start).Q
    found = 0.0
    for _ in range(MOST_TURNS):
        basis = torch.linalg.qr(matrix @ (matrix.T @ basis)).Q
        small = basis.T @ matrix
        values, vectors = torch.linalg.eigh(small @ small.T)
        held = float(values.flip(0)[:most].sum())
        if held - found <= CLOSE * held:
            break
        found = held
    values, vectors = _largest(values, vectors, most)
    return values, basis @ vectors


def _root(moments: Tensor) -> Tensor:
    """Symmetric square root of damped second moments."""
    unit = torch.eye(len(moments), dtype=moments.dtype, device=moments.device)
    damped = moments + DAMPING * moments.diagonal().mean() * unit
    values, vectors = torch.linalg.eigh(damped)
    root: Tensor = (vectors * values.clamp_min(0.0).sqrt()) @ vectors.T
    return root
