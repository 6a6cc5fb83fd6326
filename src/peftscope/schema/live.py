"""How a run that is under way gets on."""

from __future__ import annotations

from peftscope.schema.base import Frozen
from peftscope.schema.run import RunSpec

__all__ = ["RunState"]


class RunState(Frozen):
    """State of a run under way; its file is there from the run's start until its record is written."""

    run_id: str
    title: str
    """Method, learning rate and seed, to be shown."""
    worker: int
    """Place among the workers, from 0."""
    num_workers: int
    pid: int | None = None
    """The run's own process; None until it has started."""
    num_attempts: int
    """Attempts on record when it started."""
    started_at: str
    updated_at: str
    elapsed_s: float = 0.0
    stage: str = "start"
    """``load``, ``data``, ``baseline``, ``build``, ``train``, ``validate``, ``score``, …"""
    step: int | None = None
    """Training steps done; None before training."""
    max_steps: int | None = None
    until: int | None = None
    """Step at which a trial pauses; None where it goes to the end."""
    step_time_s: float | None = None
    """Mean seconds a step, validation on the way included."""
    loss: float | None = None
    """Training loss of the last step."""
    valid_score: float | None = None
    """The last validation's."""
    num_scored: int | None = None
    """Examples scored in this stage; None where nothing is scored."""
    num_to_score: int | None = None
    spec: RunSpec | None = None
    """What it does; from it a later start writes the record of a run that was lost."""

    @property
    def reached(self) -> str:
        """How far it has come.

        >>> RunState(run_id="r", title="lora", worker=0, num_workers=1, num_attempts=0, started_at="", updated_at="",
        ...          stage="train", step=3, max_steps=8).reached
        'train, step 3 of 8'
        """
        if self.stage == "train" and self.step is not None:
            return f"train, step {self.step} of {self.max_steps}"
        if self.num_scored is not None:
            return f"{self.stage}, {self.num_scored} of {self.num_to_score}"
        return self.stage
