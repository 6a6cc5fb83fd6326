"""Who is on the front, how surely, and what could remove it."""

from __future__ import annotations

import time
from dataclasses import replace

import moocore
import numpy as np
import pytest

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.front import _on_front, front_of
from peftscope.analysis.pooling import Pooled
from peftscope.analysis.verdict import Candidate, MetricSummary, Verdict
from peftscope.schema.metric import MetricSpec

SCORE = MetricSpec(name="accuracy", unit="share", direction="higher", window="")
MEMORY = MetricSpec(name="memory_bytes", unit="bytes", direction="lower", window="")

PUBLISHED = {  # accuracy on 1,319 questions and peak memory in GB: single runs of the public benchmark, 2026-06-18
    "tinylora": (0.009855951478392721, 20.126), "beft": (0.3290371493555724, 20.175),
    "lora-fa": (0.42532221379833207, 20.206), "miss": (0.5072024260803639, 20.275),
    "shira": (0.5276724791508719, 21.678), "rslora": (0.5322213798332069, 22.555),
    "lily": (0.5489006823351024, 25.621), "full": (0.497, 38.6), "lora": (0.48, 22.37),
}  # fmt: skip


def _verdict(points: dict[str, tuple[float, float]], *, single: bool = False, error: float = 0.01) -> Verdict:
    candidates = tuple(
        Candidate(
            method=name,
            card=name,
            num_examples=1319,
            single=single,
            score=Estimate(score, None, None),
            metrics={"memory_bytes": MetricSummary(mean=memory, low=memory, high=memory, num_runs=1)},
        )
        for name, (score, memory) in points.items()
    )
    drawn = np.array([score for score, _ in points.values()]) + error * np.random.default_rng(0).standard_normal(
        (20_000, len(points))
    )
    verdict = Verdict(metric=SCORE, margin=0.02, level=0.95, candidates=candidates, pairs=(), tiers=())
    if single:
        return verdict
    pooled = Pooled(names=tuple(points), draws=drawn, shrunk=False)
    return replace(verdict, standard_errors=dict.fromkeys(points, error), pooled=pooled)


def test_the_published_front_and_its_removable_members_are_as_expected() -> None:
    front = front_of(_verdict(PUBLISHED, single=True), [SCORE, MEMORY])
    assert front.members == ("tinylora", "beft", "lora-fa", "miss", "shira", "rslora", "lily")
    assert front.removable == {"rslora": ("shira",)}
    assert set(front.membership.values()) == {None}
    assert any("single runs" in note for note in front.notes)


def test_membership_is_the_probability_of_being_nondominated() -> None:
    verdict = _verdict({"cheap": (0.50, 1.0), "dear": (0.51, 2.0), "hopeless": (0.2, 3.0)})
    front = front_of(verdict, [SCORE, MEMORY])
    wanted = 0.7602  # of a difference of 0.01 with a standard error of 0.0141 being positive
    assert front.membership["dear"] == pytest.approx(wanted, abs=0.02)
    assert front.membership["cheap"] == 1.0
    assert front.membership["hopeless"] == 0.0
    assert front.removable == {"dear": ("cheap",)}


def test_front_membership_accounts_for_correlation_from_shared_test_examples() -> None:
    verdict = _verdict({"cheap": (0.50, 1.0), "dear": (0.51, 2.0)})
    source = np.random.default_rng(1)
    luck, own = source.standard_normal((20_000, 1)), source.standard_normal((20_000, 2))
    drawn = np.array([0.50, 0.51]) + 1e-2 * (np.sqrt(0.98) * luck + np.sqrt(0.02) * own)
    together = replace(verdict, pooled=Pooled(names=("cheap", "dear"), draws=drawn, shrunk=False))
    assert front_of(together, [SCORE, MEMORY]).membership["dear"] > 0.98


def test_cost_variation_over_seeds_affects_front_membership() -> None:
    verdict = _verdict({"a": (0.5, 100.0), "b": (0.6, 101.0)}, error=1e-6)
    b = replace(verdict.candidates[0], metrics={"memory_bytes": MetricSummary(mean=100, low=90, high=110, num_runs=4,
                                                                      deviation=2.0)})  # fmt: skip
    front = front_of(replace(verdict, candidates=(b, verdict.candidates[1])), [SCORE, MEMORY])
    assert front.membership["a"] == pytest.approx(0.841, abs=0.02)  # one standard error of 1 below b's 101


def test_equal_points_are_both_on_the_front() -> None:
    front = front_of(_verdict({"a": (0.5, 1.0), "b": (0.5, 1.0), "c": (0.4, 1.0)}, single=True), [SCORE, MEMORY])
    assert set(front.members) == {"a", "b"}


def test_computed_fronts_match_moocore() -> None:
    losses = np.random.default_rng(0).integers(0, 5, (50, 12, 3)).astype(float)
    wanted = [moocore.is_nondominated(points, keep_weakly=True) for points in losses]
    assert (_on_front(losses) == np.array(wanted)).all()


def test_the_hypervolume_is_computed_from_scaled_points() -> None:
    front = front_of(_verdict({"a": (0.0, 0.0), "b": (0.5, 0.5), "c": (1.0, 1.0)}, single=True), [SCORE, MEMORY])
    assert front.hypervolume == pytest.approx(0.25)
    assert front.reference == (0.0, 1.0)


def test_one_metric_or_one_without_a_direction_is_refused() -> None:
    verdict = _verdict({"a": (0.5, 1.0)})
    with pytest.raises(ValueError, match="two metrics"):
        front_of(verdict, [SCORE])
    with pytest.raises(ValueError, match="num_steps"):
        front_of(verdict, [SCORE, MetricSpec(name="num_steps", unit="count", direction="neutral", window="")])


def test_methods_lacking_a_metric_are_named() -> None:
    verdict = _verdict({"a": (0.5, 1.0), "b": (0.6, 2.0)})
    bare = replace(verdict.candidates[1], metrics={})
    front = front_of(replace(verdict, candidates=(verdict.candidates[0], bare)), [SCORE, MEMORY])
    assert list(front.points) == ["a"]
    assert front.notes == ("without memory_bytes, so not placed: b",)


def test_ten_thousand_draws_of_fifty_methods_take_seconds() -> None:
    source = np.random.default_rng(1)
    verdict = _verdict({f"m{i}": (s, m) for i, (s, m) in enumerate(source.random((50, 2)))})
    start = time.perf_counter()
    front_of(verdict, [SCORE, MEMORY])
    assert time.perf_counter() - start < 5.0


def test_no_candidates_give_an_empty_front() -> None:
    front = front_of(_verdict({}), [SCORE, MEMORY])
    assert (front.members, front.hypervolume) == ((), None)
