"""Factors are the best there are of their rank, for weights or for outputs on real inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from peftscope.convert import factors
from peftscope.convert.factors import Factors, best_factors


def _matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _inputs(width: int) -> Tensor:
    """Inputs of which few directions matter."""
    return _matrix(400, width, 1) * torch.logspace(0, -3, width, dtype=torch.float64)


def _missing(delta: Tensor, found: Factors, inputs: Tensor | None = None) -> float:
    rest = delta - found.b @ found.a
    return float((rest if inputs is None else inputs @ rest.T).norm())


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (30, 30)])
def test_without_inputs_they_are_the_truncated_singular_value_decomposition(shape: tuple[int, int]) -> None:
    delta = _matrix(*shape)
    found = best_factors(delta, None, most=7)
    u, s, v = torch.linalg.svd(delta, full_matrices=False)
    assert torch.allclose((found.b @ found.a).double(), (u[:, :7] * s[:7]) @ v[:7], atol=1e-5)
    assert torch.allclose(found.energies, s[:7].square())
    assert found.total == pytest.approx(float(s.square().sum()))


@pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
def test_with_inputs_no_other_factors_of_that_rank_miss_less_of_the_outputs(shape: tuple[int, int]) -> None:
    delta, inputs = _matrix(*shape), _inputs(shape[1])
    found = best_factors(delta, inputs.T @ inputs / len(inputs), most=5)
    least = float(torch.linalg.svdvals(inputs @ delta.T)[5:].norm())
    assert _missing(delta, found, inputs) == pytest.approx(least, rel=1e-3)
    assert least < 0.7 * _missing(delta, best_factors(delta, None, most=5), inputs)


@pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
@pytest.mark.parametrize("known", [False, True])
def test_at_full_rank_nothing_is_missing(shape: tuple[int, int], known: bool) -> None:
    delta, inputs = _matrix(*shape), _inputs(shape[1])
    found = best_factors(delta, inputs.T @ inputs if known else None, most=100)
    assert found.rank == 20
    assert _missing(delta, found) <= 1e-6 * float(delta.norm())


def test_a_change_of_low_rank_needs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    delta = _matrix(40, 3) @ _matrix(3, 60, 1)
    assert best_factors(delta, None, most=64).rank == 3
    assert best_factors(torch.zeros(4, 5, dtype=torch.float64), None, most=64).rank == 0


def test_large_matrices_are_cut_by_iteration_as_well_as_by_decomposition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "LARGE", 100)
    delta = _matrix(300, 60) @ torch.diag(torch.logspace(0, -2, 60, dtype=torch.float64)) @ _matrix(60, 400, 1)
    turned = []
    exact = torch.linalg.svdvals(delta)[8:].norm()
    for matrix in (delta, delta.T):
        turned.append(_missing(matrix, best_factors(matrix, None, most=8)))
    assert turned == pytest.approx([float(exact)] * 2, rel=1e-3)
