"""The best factors of low rank of a change: of its weights, or of the outputs it makes of real inputs.

With the second moments S = E[x xᵀ] of a layer's inputs, the factors minimise the mean squared error of its outputs,
tr((Δ − B A) S (Δ − B A)ᵀ): B holds the leading eigenvectors of Δ S Δᵀ, and A = Bᵀ Δ. Without them S is the identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BEYOND", "Factors", "best_factors", "is_iterated"]

DAMPING = 1e-9
"""Share of the mean second moment that is added to each, so that no direction counts nothing."""
LARGE = 1024
"""Smaller side from which on the leading directions are found by subspace iteration."""
BEYOND = 32
"""Directions the iteration follows beyond those that are wanted."""
CLOSE = 1e-6
"""Share of the energy found that one more turn may still add."""
MOST_TURNS = 60
EXACT = {torch.float64: 1e-13, torch.float32: 1e-7}
"""Share of the largest energy below which a direction is rounding, by type."""


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
        delta: (out, in), float64; float32 where it is too large for that.
        moments: (in, in) second moments of the inputs; None counts all inputs alike.
        most: Directions that may be wanted.
    """
    if moments is not None:
        moments = _damped(moments.to(delta.device).to(delta.dtype))
    weighted = delta if moments is None else delta @ moments
    total = float(weighted.mul(delta).sum())
    if total == 0.0:
        rows, columns = delta.shape
        return Factors(a=torch.zeros(0, columns), b=torch.zeros(rows, 0), energies=torch.zeros(0), total=0.0)
    if is_iterated(*delta.shape, most=most):
        energies, directions = _by_iteration(delta, moments, most)
    elif len(delta) <= delta.shape[1]:
        values, vectors = torch.linalg.eigh(weighted @ delta.T)
        energies, directions = _largest(values, vectors, most)
    else:
        energies, directions = _of_tall(delta if moments is None else delta @ _root(moments), most)
    kept = [tensor.to("cpu", torch.float32, copy=True) for tensor in (directions.T @ delta, directions)]
    return Factors(a=kept[0], b=kept[1], energies=energies.cpu().clone(), total=total)


def is_iterated(rows: int, columns: int, *, most: int) -> bool:
    """Whether the leading directions of a change are found by iteration."""
    return min(rows, columns) >= LARGE and most + BEYOND < min(rows, columns) // 4


def _of_tall(matrix: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Energies (k) and left singular vectors (rows, k) of a tall matrix, by way of its right ones."""
    values, vectors = torch.linalg.eigh(matrix.T @ matrix)
    energies, right = _largest(values, vectors, most)
    return energies, torch.linalg.qr(matrix @ right).Q


def _largest(values: Tensor, vectors: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The first of ascending eigenvalues and their vectors, turned round, without those that are rounding."""
    values, vectors = values.flip(0)[:most].clamp_min(0.0), vectors.flip(1)[:, :most]
    kept = int((values > EXACT[values.dtype] * values[0]).sum())
    return values[:kept], vectors[:, :kept]


def _by_iteration(delta: Tensor, moments: Tensor | None, most: int) -> tuple[Tensor, Tensor]:
    """Leading eigenvalues and vectors of Δ S Δᵀ by subspace iteration, until another turn finds no more energy."""

    def turned(basis: Tensor) -> Tensor:
        back = delta.T @ basis
        return delta @ (back if moments is None else moments @ back)

    generator = torch.Generator(delta.device).manual_seed(0)
    start = torch.randn(len(delta), most + BEYOND, dtype=delta.dtype, device=delta.device, generator=generator)
    basis = torch.linalg.qr(turned(start)).Q
    found = 0.0
    for _ in range(MOST_TURNS):
        further = turned(basis)
        values, vectors = torch.linalg.eigh(basis.T @ further)
        held = float(values.flip(0)[:most].sum())
        if held - found <= CLOSE * held:
            break
        found, basis = held, torch.linalg.qr(further).Q
    else:
        values, vectors = torch.linalg.eigh(basis.T @ turned(basis))
    values, vectors = _largest(values, vectors, most)
    return values, basis @ vectors


def _damped(moments: Tensor) -> Tensor:
    unit = torch.eye(len(moments), dtype=moments.dtype, device=moments.device)
    return moments + DAMPING * moments.diagonal().mean() * unit


def _root(moments: Tensor) -> Tensor:
    """A matrix L with L Lᵀ = S; triangular but where rounding keeps S from being positive."""
    root: Tensor
    root, failed = torch.linalg.cholesky_ex(moments)
    if failed:
        values, vectors = torch.linalg.eigh(moments)
        root = vectors * values.clamp_min(0.0).sqrt()
    return root
