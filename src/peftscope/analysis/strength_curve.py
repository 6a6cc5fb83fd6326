"""A method at strengths between the base and its adapter: score, kept gain and forgetting, and the strength to take.

The strength is chosen on validation, so that nothing is picked by the test split; figures are of the test split.
Forgetting is that of every seed on one general text: its interval is over seeds alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from peftscope.analysis.crossed import fit_crossed
from peftscope.analysis.estimates import LEVEL, Estimate
from peftscope.analysis.intervals import mean_intervals
from peftscope.analysis.strength import (
    Strengths,
    gain_at,
    kept_share,
    seed_interval,
    strength_that_keeps,
    strength_within,
    weights_at,
)

__all__ = ["Measured", "Point", "StrengthCurve", "base_kept", "curve_of", "point_within"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of one method at S strengths with n seeds."""

    test: Strengths
    valid: Strengths
    sign: float
    """1 where more is better, -1 where less is: scores are multiplied by it."""
    forgetting: Floats | None
    """Shape (S, n), in nats per token; None where the task measures none."""
    others_forgetting: tuple[Floats, ...] = ()
    """Of the seeds of each of the study's other trained methods."""
    others: Mapping[str, Floats] = field(default_factory=dict)
    """Test scores of the study's other trained methods, each of shape (seeds, E), on the same examples."""
    is_gain_detectable: bool | None = None
    """What the study's verdict on the method and the base says; None where it says nothing."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A method at one strength, on the test split."""

    strength: float
    is_measured: bool
    """Whether it was measured; else it lies on straight lines between two strengths that were."""
    score: Estimate
    gain: Estimate
    """Over the base, positive is better."""
    kept: Estimate | None
    """Share of the full gain; None where the full gain is not detectable."""
    forgetting: Estimate | None
    """In nats per token."""
    base_kept: Estimate | None
    """exp(-forgetting): share of the probability that the base gave a token of general text, geometric mean."""
    valid_score: float
    """On the validation split."""


@dataclass(frozen=True, kw_only=True)
class StrengthCurve:
    """Score against forgetting, from the base to the adapter."""

    points: tuple[Point, ...]
    """The measured strengths, 0 first, 1 last."""
    keep: float
    """Share of the gain that is to be kept."""
    strength: Estimate | None
    """The least that keeps it on validation; None where the gain is not detectable."""
    chosen: Point | None
    """The test split's figures there."""
    is_gain_detectable: bool
    """On test, so that a share of it means something."""
    is_gain_on_valid: bool
    """On validation, so that a strength can be chosen."""
    num_seeds: int
    num_test: int
    num_valid: int

    @property
    def full(self) -> Point:
        """The adapter."""
        return self.points[-1]


def curve_of(found: Measured, keep: float, level: float = LEVEL) -> StrengthCurve:
    """The curve of a method, and the strength that keeps a share of its gain.

    Args:
        found: What was measured.
        keep: Share of the gain, above 0 and at most 1.
        level: Of every interval.
    """
    detectable = found.is_gain_detectable
    if detectable is None:
        low = gain_at(found.test, 1.0, level).low
        detectable = low is not None and low > 0.0
    strength = strength_that_keeps(found.valid, keep, level) if detectable else None
    points = tuple(_point(found, float(s), detectable, level) for s in found.test.strengths)
    return StrengthCurve(
        points=points,
        keep=keep,
        strength=strength,
        chosen=None if strength is None else _point(found, strength.value, detectable, level),
        is_gain_detectable=detectable,
        is_gain_on_valid=kept_share(found.valid, 1.0, level) is not None,
        num_seeds=found.test.scores.shape[1],
        num_test=found.test.scores.shape[2],
        num_valid=found.valid.scores.shape[2],
    )


def point_within(found: Measured, bound: float, level: float = LEVEL) -> Point | None:
    """A method at the largest strength at which every seed forgets no more than a bound; None at no strength above 0.

    Forgetting is of general text and no figure of the test split, so that nothing is picked by that.

    Args:
        found: What was measured.
        bound: In nats per token.
        level: Of every interval.
    """
    if found.forgetting is None:
        return None
    strength = strength_within(found.test.strengths, found.forgetting, bound)
    if not strength:
        return None
    detectable = found.is_gain_detectable
    return _point(found, strength, detectable is not False, level)


def base_kept(forgetting: Estimate) -> Estimate:
    """exp(-forgetting), its ends exchanged.

    >>> round(base_kept(Estimate(0.0513, None, None)).value, 3)
    0.95
    """
    low, high = (None if end is None else math.exp(-end) for end in (forgetting.high, forgetting.low))
    return Estimate(math.exp(-forgetting.value), low, high)


def _point(found: Measured, strength: float, detectable: bool, level: float) -> Point:
    own = weights_at(found.test.strengths, strength)
    forgetting = None
    if found.forgetting is not None:
        forgetting = seed_interval((own @ found.forgetting).tolist(), found.others_forgetting, level)
        if strength == 0.0:  # one and the same model for all seeds
            forgetting = replace(forgetting, low=forgetting.value, high=forgetting.value)
    return Point(
        strength=strength,
        is_measured=bool(np.any(found.test.strengths == strength)),
        score=_score(found, own, level, is_base=strength == 0.0),
        gain=gain_at(found.test, strength, level),
        kept=kept_share(found.test, strength, level) if detectable else None,
        forgetting=forgetting,
        base_kept=None if forgetting is None else base_kept(forgetting),
        valid_score=found.sign * float(weights_at(found.valid.strengths, strength) @ found.valid.means),
    )


def _score(found: Measured, weights: Floats, level: float, *, is_base: bool) -> Estimate:
    """The score with the interval that the study's verdict gives a method: seeds lean on those of the others."""
    own = found.sign * np.tensordot(weights, found.test.scores, axes=1)
    name = "at this strength"
    crossed = fit_crossed(
        {**found.others, name: own[:1] if is_base else own}, fixed=(name,) if is_base else (), groups=found.test.groups
    )
    return mean_intervals(crossed, level)[-1]
