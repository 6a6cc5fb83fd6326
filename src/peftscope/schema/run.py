"""One run: one training of one method with one learning rate and one seed on one task."""

from __future__ import annotations

from typing import Annotated, Literal

from peftscope.schema.base import Frozen, content_hash
from peftscope.schema.identity import NEITHER, QUALITY
from peftscope.schema.study import MeasureSpec, MethodSpec, ModelSpec, Rate, Seed, TaskSpec, TrainSpec

__all__ = ["RunSpec"]

SCHEMA = 2
"""Raised when a setting means something else than before, or a default changes; every run then has another id."""


class RunSpec(Frozen):
    """Everything that decides what a run does; what of it is not the default names the run."""

    model: ModelSpec
    task: Annotated[TaskSpec, NEITHER]
    """Its data's fingerprint stands for it among the conditions of quality."""
    method: Annotated[MethodSpec, NEITHER]
    learning_rate: Annotated[Rate | None, NEITHER] = None
    """Peak learning rate; None for the untouched base, which is not trained."""
    seed: Annotated[Seed, NEITHER] = 0
    train: TrainSpec = TrainSpec()
    measure: MeasureSpec = MeasureSpec()
    vary_split: Annotated[bool, QUALITY] = False
    """Let the seed cut training and validation data, too."""
    purpose: Annotated[Literal["final", "trial"], NEITHER] = "final"
    """``trial``: made to choose hyper-parameters; it sees training and validation data alone."""
    rungs: Annotated[tuple[int, ...], NEITHER] = ()
    """Steps of a trial at which it is validated and may be stopped or go on."""

    @property
    def title(self) -> str:
        """What tells it from the other runs of a study: method, learning rate, seed."""
        rate = "" if self.learning_rate is None else f" lr {self.learning_rate:g}"
        what = "trial" if self.purpose == "trial" else f"seed {self.seed}"
        return f"{self.method.title}{rate} {what}"

    @property
    def run_id(self) -> str:
        """Hash of what is set differently from the defaults: the same settings are the same run."""
        return content_hash({"schema": SCHEMA, **self.model_dump(mode="json", exclude_defaults=True)})
