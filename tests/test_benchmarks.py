"""What the committed outputs of the benchmarks say is what the README claims."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from peftscope.spec.effort import EFFORTS

ROOT = Path(__file__).resolve().parents[1]


def test_halving_ends_in_the_same_top_tier_at_sixty_percent_of_the_steps_or_less() -> None:
    told = (ROOT / "benchmarks" / "halving.md").read_text(encoding="utf-8")
    share = re.search(r"\*\*(\d+)%\*\*", told)
    assert share is not None
    assert int(share[1]) <= 60
    assert "**the same**" in told
    assert f"takes {share[1]} % of the steps" in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def test_efforts_say_what_the_benchmark_found() -> None:
    page = (ROOT / "benchmarks" / "tuning.md").read_text(encoding="utf-8")
    for effort in EFFORTS.values():
        row = re.search(rf"^\| off \| {effort.name} \| (.*) \|$", page, flags=re.MULTILINE)
        assert row is not None
        apart, lost, worst, price, *_ = (float(cell.strip(" *").split(" ")[0]) for cell in row[1].split("|"))
        said = (effort.false_difference * 100, effort.points_lost, effort.worst_lost)
        assert said == pytest.approx((apart, lost, worst))
        assert effort.price == pytest.approx(price, abs=0.05)


def test_the_readme_quotes_the_accuracy_of_predictions() -> None:
    page = (ROOT / "benchmarks" / "footprint_accuracy.md").read_text(encoding="utf-8")
    median = re.search(r"\| median \|.*\| (\S+ %) \|$", page, flags=re.MULTILINE)
    assert median
    assert f"the median error is {median[1]}" in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def test_predictions_are_as_near_as_they_are_said_to_be() -> None:
    page = (ROOT / "benchmarks" / "footprint_accuracy.md").read_text(encoding="utf-8")
    limits = {"median": 1.5, "90th percentile": 4.0, "largest": 10.0}
    for name, most in limits.items():
        found = re.search(rf"^\| {name} \| (\S+) % \| (\S+) % \| (\S+) % \|$", page, flags=re.MULTILINE)
        assert found is not None
        assert all(float(figure) <= most for figure in found.groups())
    assert "no reason found" not in page
    assert "| trainable parameters exact | 52 of 52 | 25 of 25 | 77 of 77 |" in page


def test_the_readme_quotes_how_near_predictions_come_to_real_steps() -> None:
    page = (ROOT / "benchmarks" / "footprint_measured.md").read_text(encoding="utf-8")
    counted = re.search(r"counted in real steps \| (\S+) % \| (\S+) % \|", page)
    sampled = re.search(r"memory, sampled \| (\S+) % \|", page)
    assert counted is not None
    assert sampled is not None
    assert float(counted[2]) <= 2.0
    assert float(sampled[1]) <= 8.0
    assert f"within {sampled[1]} % in the median" in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
