"""The promises of ``benchmarks/statistics.py`` at 100 studies per cell.

Bounds are those of the promise plus what chance gives 100 studies, in all of a test's cells together, once in 200
times; means over cells are held tightly, so that a defect fails.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
STUDIES = 100
sys.path.insert(0, str(BENCHMARKS))
import simulated  # noqa: E402
import worlds  # noqa: E402

sys.path.remove(str(BENCHMARKS))

Cells = Mapping[tuple[float, float, int], simulated.Look]


def _most(share: float, cells: int = 1) -> int:
    """Of the studies, that a share still gives by chance in any of the cells."""
    return int(stats.binom.isf(0.005 / cells, STUDIES, share))


@pytest.fixture(scope="module")
def identical() -> Cells:
    return {
        (accuracy, seed_sd, seeds): look
        for accuracy in (0.1, 0.5, 0.9)
        for seed_sd in (0.0, 0.01, 0.03)
        for seeds, look in simulated.run_cell(accuracy=accuracy, seed_sd=seed_sd, studies=STUDIES).items()
    }


@pytest.mark.parametrize("accuracy", [0.1, 0.5, 0.9])
def test_simulated_answers_have_the_accuracy_and_the_correlation_that_are_stated(accuracy: float) -> None:
    latent = worlds.latent_correlation(accuracy)
    right = worlds.answers(np.random.default_rng(0), np.full(4, accuracy), latent=latent, examples=200_000)
    answers = right.astype(float)
    assert answers.mean() == pytest.approx(accuracy, abs=0.004)
    assert np.corrcoef(answers)[np.triu_indices(4, 1)] == pytest.approx(worlds.CORRELATION, abs=0.015)


def test_95_percent_intervals_hold_the_truth_in_93_to_97_of_100_in_every_cell(identical: Cells) -> None:
    for cell, look in identical.items():
        for shares in (look.intervals, look.pairs):
            # techniques share the examples' luck: the spread is that of the studies' means
            error = 2.6 * np.std(shares) / np.sqrt(STUDIES)
            assert 0.93 - error <= np.mean(shares) <= 0.97 + error, cell
    assert 0.94 <= np.mean([look.intervals for look in identical.values()]) <= 0.965
    assert 0.94 <= np.mean([look.pairs for look in identical.values()]) <= 0.97


def test_identical_techniques_are_told_apart_in_at_most_5_of_100_studies(identical: Cells) -> None:
    for cell, look in identical.items():
        assert look.false_better <= _most(0.05, len(identical)), cell
        assert look.false_tiers <= _most(0.05, len(identical)), cell
    count = STUDIES * len(identical)
    assert sum(look.false_better for look in identical.values()) / count <= 0.05
    assert sum(look.false_tiers for look in identical.values()) / count <= 0.05


@pytest.mark.parametrize(("accuracy", "each"), [(0.1, 0.80), (0.5, 0.57), (0.9, 0.80)])
def test_five_points_are_found_with_three_seeds(accuracy: float, each: float) -> None:
    """By tiers and by the pairs together; each of 28 pairs alone cannot be, at accuracy 0.5 (``statistics.md``)."""
    look = simulated.run_cell(accuracy=accuracy, seed_sd=0.01, studies=STUDIES, gap=0.05, looks=(3,))[3]
    assert np.mean(look.lower_tier) >= 0.8
    assert look.found_any >= STUDIES - _most(0.2)
    assert np.mean(look.found) >= each - 2.6 * np.std(look.found) / np.sqrt(STUDIES)
    assert look.false_tiers == 0
    assert look.false_better <= _most(0.05)


@pytest.mark.parametrize(("accuracy", "seed_sd"), [(0.1, 0.0), (0.5, 0.01)])
def test_identical_techniques_are_equivalent_at_the_seeds_the_formula_names_and_not_by_luck(
    accuracy: float, seed_sd: float
) -> None:
    named = simulated.named_seeds(accuracy, seed_sd)
    looks = [*(seeds for seeds in simulated.LOOKS if seeds < named), named]
    cell = {"accuracy": accuracy, "seed_sd": seed_sd, "studies": STUDIES, "full": False}
    same = simulated.run_cell(looks=looks, **cell)
    assert np.mean(same[named].equivalent) >= 0.9
    far = simulated.run_cell(looks=looks, gap=simulated.MARGIN, **cell)
    early = np.any([look.false_equivalent for seeds, look in far.items() if seeds < named], axis=0)
    assert np.sum(early) <= _most(0.05)
    assert np.sum(far[named].false_equivalent) <= _most(0.05)


def test_scripts_beside_the_benchmark_still_find_the_standard_library() -> None:
    code = "import statistics; from statistics import median; print(median([1, 2, 3]))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=False, timeout=60
    )
    assert found.stdout.strip() == "2", found.stderr
