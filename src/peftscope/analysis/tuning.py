"""What tuning a technique came to: its trials in the order they were offered, and the one chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Trial", "Tuning"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting that was tried; it saw training and validation data alone."""

    number: int
    """From 0, in the order of the offers."""
    learning_rate: float
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Further settings that were searched."""
    origin: Literal["grid", "growth", "refinement", "sampled"]
    """Why it was tried: a point of the first grid, a step beyond an edge, between the best and its neighbour, or drawn
    because other knobs are searched too."""
    run_id: str
    status: str
    """Of its record (``ok``, ``eliminated``, ``diverged``, …); ``planned`` where there is none yet."""
    reason: str | None = None
    num_steps: int = 0
    """Optimizer steps trained, all of them billed."""
    valid_score: float | None = None
    """At the end of the full-length training; None for one that did not get there."""
    valid_loss: float | None = None
    rungs: tuple[tuple[int, float], ...] = ()
    """Step and validation loss at each rung it reached."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The tuning of one technique."""

    method: str
    num_offered: int
    """Trials offered: the same for every technique."""
    trials: tuple[Trial, ...]
    chosen: Trial | None
    """The frozen configuration; None where tuning has not ended or every trial failed."""
    edge: Literal["lowest", "highest"] | None = None
    """Set where the chosen learning rate is the lowest or highest that was tried: a better one may lie beyond."""

    @property
    def num_steps(self) -> int:
        """Optimizer steps of all trials."""
        return sum(trial.num_steps for trial in self.trials)
