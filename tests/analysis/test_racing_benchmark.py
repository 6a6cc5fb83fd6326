"""The promises of ``benchmarks/racing.py`` at few studies: what is low and cheap stays, what is dominated goes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
STUDIES = 15


@pytest.fixture(scope="module")
def racing() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import racing
    finally:
        sys.path.remove(str(BENCHMARKS))
    return racing


@pytest.mark.parametrize("world", ["cheap but low: each cheaper one 5 points worse", "all score the same"])
def test_no_front_member_is_lost(racing: ModuleType, world: str) -> None:
    assert not any(racing.run_field(racing.FIELDS[world], STUDIES, 0).lost)


def test_what_is_dominated_is_found_and_its_runs_are_saved(racing: ModuleType) -> None:
    counts = racing.run_field(racing.FIELDS["each dearer one 5 points worse"], STUDIES, 0)
    assert not any(counts.lost)
    assert 0.25 < counts.dropped / counts.dominated <= 1.0
    assert 0.0 < sum(counts.saved) <= sum(counts.possible)
