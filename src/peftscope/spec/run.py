"""One run: one training of one technique with one learning rate and one seed on one task."""

from __future__ import annotations

from typing import Literal

from peftscope.spec.base import Frozen, content_hash
from peftscope.spec.study import MeasureSpec, MethodSpec, ModelSpec, Rate, Seed, TaskSpec, TrainSpec

__all__ = ["RunSpec"]


class RunSpec(Frozen):
    """Everything that decides what a run does; its content hash is the run's id."""

    model: ModelSpec
    task: TaskSpec
    method: MethodSpec
    learning_rate: Rate | None = None
    """Peak learning rate; None for the untouched base, which is not trained."""
    seed: Seed = 0
    train: TrainSpec = TrainSpec()
    measure: MeasureSpec = MeasureSpec()
    vary_split: bool = False
    """Let the seed cut training and validation data, too."""
    purpose: Literal["final", "trial"] = "final"
    """``trial``: made to choose hyper-parameters; it sees training and validation data alone."""
    rungs: tuple[int, ...] = ()
    """Steps of a trial at which it is validated and may be stopped or go on."""

    @property
    def title(self) -> str:
        """What tells it from the other runs of a study: technique, learning rate, seed."""
        rate = "" if self.learning_rate is None else f" lr {self.learning_rate:g}"
        what = "trial" if self.purpose == "trial" else f"seed {self.seed}"
        return f"{self.method.title}{rate} {what}"

    @property
    def run_id(self) -> str:
        """Content hash of the spec: the same content is the same run."""
        return content_hash(self)
