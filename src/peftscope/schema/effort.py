"""How hard each method is tuned: named protocols, each with its offer and its price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["EFFORTS", "Effort", "EffortName"]

EffortName = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """A tuning protocol: what every method is offered at most, and what it costs on average.

    Short trials stop at the first rung and look for the region of the best learning rate; full trials run to the end
    and decide. The figures come from ``benchmarks/tuning.py``.
    """

    name: EffortName
    num_short: int
    """Short trials offered to each method, at most."""
    num_full: int
    """Full-length trials offered to each method, at most, over all tuning seeds."""
    num_seeds: int
    """Seeds a learning rate is trained with before it can be chosen."""
    price: float
    """Full trainings that tuning one method takes on average, short trials counted by their share of the steps."""
    false_difference: float
    """Share of simulated studies in which equally good methods are called different, tuning included."""
    points_lost: float
    """Points of score a method loses to tuning on average, against its best fixed learning rate."""
    worst_lost: float
    """The same of the method of eight that loses most."""


EFFORTS: dict[str, Effort] = {
    effort.name: effort
    for effort in (
        Effort(
            name="quick",
            num_short=8,
            num_full=6,
            num_seeds=1,
            price=4.2,
            false_difference=0.12,
            points_lost=0.73,
            worst_lost=2.54,
        ),
        Effort(
            name="standard",
            num_short=8,
            num_full=12,
            num_seeds=2,
            price=6.3,
            false_difference=0.105,
            points_lost=0.62,
            worst_lost=2.15,
        ),
        Effort(
            name="thorough",
            num_short=8,
            num_full=20,
            num_seeds=4,
            price=10.4,
            false_difference=0.084,
            points_lost=0.55,
            worst_lost=1.91,
        ),
    )
}
"""By name, cheapest first; figures of the benchmark's world *off*, where no card's range is centred."""
