"""What tuning a method came to: its trials in the order they were offered, and the one chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from peftscope.schema.effort import Effort

__all__ = ["Edge", "Trial", "Tuning"]

Edge = Literal["lowest", "highest", "both"]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting that was tried; it saw training and validation data alone."""

    number: int
    """From 0, in the order of the offers."""
    learning_rate: float
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Further settings that were searched."""
    origin: Literal["grid", "growth", "refinement", "repeat", "sampled"]
    """Why it was tried: a point of the first grid, a step beyond an edge, a neighbour of the best, a rate again with a
    further seed, or because other knobs are searched too."""
    seed: int | None = None
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
    """The tuning of one method."""

    method: str
    num_offered: int
    """Trials offered at most, short and full ones: the same for every method."""
    effort: Effort | None = None
    """The protocol; None where a number of trials was given."""
    trials: tuple[Trial, ...]
    chosen: Trial | None
    """The best trial; None where tuning has not ended or every trial failed."""
    learning_rate: float | None = None
    """The frozen learning rate: the best trial's, or between it and a neighbour; None without a choice."""
    edge: Edge | None = None
    """Side on which no worse or diverged neighbour was trained: a better rate may lie beyond. None where the chosen
    rate is bracketed, or nothing is chosen."""
    bracket: tuple[float | None, float | None] = (None, None)
    """The next lower and the next higher rate that turned out worse or diverged."""
    by_score: bool = False
    """Validation scores contradicted the losses beyond their noise, and decided."""

    @property
    def is_bracketed(self) -> bool:
        """Whether the chosen learning rate has a worse or a diverged neighbour on both sides."""
        return self.chosen is not None and self.edge is None

    @property
    def num_steps(self) -> int:
        """Optimizer steps of all trials."""
        return sum(trial.num_steps for trial in self.trials)
