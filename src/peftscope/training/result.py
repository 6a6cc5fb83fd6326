"""What a training leaves behind, filled as it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from peftscope.schema.record import CurvePoint

__all__ = ["FitResult"]


@dataclass(kw_only=True)
class FitResult:
    """What a training did."""

    curve: list[CurvePoint] = field(default_factory=list)
    steps_done: int = 0
    num_samples: int = 0
    num_units: int = 0
    """Tokens, images, …: the task's unit of throughput."""
    train_time_s: float = 0.0
    """Training steps only: no data preparation, validation or scoring."""
    final_loss: float | None = None
    """Mean training loss per label over the last curve point's window."""
