"""What a run leaves behind: one record, also when it fails."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from peftscope.schema.base import STRICT, Frozen
from peftscope.schema.metric import MetricSpec
from peftscope.schema.protocol import Protocol
from peftscope.schema.run import RunSpec

__all__ = [
    "FINISHED",
    "KILLED_BY_USER",
    "NOT_FAILED",
    "STOPPED",
    "STOPPED_BY_USER",
    "STUDY_KILLED",
    "Artefact",
    "Attempt",
    "CurvePoint",
    "ExampleOutcome",
    "MethodFacts",
    "RunRecord",
    "Status",
    "timestamp",
]

Status = Literal["ok", "refused", "oom", "diverged", "error", "killed", "eliminated"]

FINISHED: frozenset[Status] = frozenset({"ok", "refused", "diverged"})
"""Statuses that would come out the same again; the others are tried again by a second ``compare``."""

STOPPED_BY_USER = "stopped by the user"
KILLED_BY_USER = "ended at once by the user"
STUDY_KILLED = "the process that ran the study was ended"
STOPPED = (STOPPED_BY_USER, KILLED_BY_USER, STUDY_KILLED)
"""What the reason of an attempt begins with that was ended because its study was."""

NOT_FAILED: frozenset[Status] = frozenset({"ok", "eliminated"})
"""Statuses of runs that ended as they should; a search ends some early on purpose."""


def timestamp() -> str:
    """The time now, as records hold it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Attempt(Frozen):
    """One start of a run."""

    started_at: str
    ended_at: str
    status: Status
    reason: str | None = None
    traceback: str | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    """Versions, commit and dirty flag, hardware, threads."""
    reached: str | None = None
    """How far a start came that did not end by itself, such as ``train, step 12 of 32``."""
    kind: Literal["run", "rerun"] = "run"
    """``rerun``: a repetition, made to be compared; the record's figures are not of it."""
    agrees: bool | None = None
    """Whether a repetition gave the same figures, as far as they can repeat."""

    @property
    def ended_with_study(self) -> bool:
        """Whether it was ended because its study was, which says nothing of the run."""
        return self.status == "killed" and (self.reason or "").startswith(STOPPED)


class MethodFacts(Frozen):
    """What was really built."""

    tuner_class: str
    """Class of the tuner, such as ``peft.tuners.lora.model.LoraModel``."""
    adapted_modules: tuple[str, ...]
    """Full names of the base's modules the method touches."""
    adapted_share: float | None = None
    """Share of the base's weights that lie in these."""
    left_out: dict[str, float] = Field(default_factory=dict)
    """What the policy for targets left out of this base, and its share of the weights."""
    peft_config: dict[str, Any] | None
    """The config as ``peft`` holds it."""
    learning_rate_source: str | None = None
    """As far as the run itself tells; whether tuning chose the rate of a final run, its study knows."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CurvePoint:
    """State of a training after a step."""

    step: int
    learning_rate: float
    train_loss: float
    """Mean loss per label since the last point."""
    valid_score: float | None = None
    valid_loss: float | None = None
    """At the rungs of a trial."""
    train_time_s: float
    """Training steps only, from the start of the run."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ExampleOutcome:
    """Score of one example (and draw); a light class, as a study holds millions."""

    example_id: str
    score: float
    draw: int = 0
    output: str | None = None
    """What was given; kept of some examples, with their prompts and targets."""
    truncated: bool | None = None
    group: str | None = None
    """What it shares with other examples, such as a document; None where it stands for itself."""
    prompt: str | None = None
    target: str | None = None


class Artefact(Frozen):
    """A file that a run leaves beside its record, for a person to look at."""

    name: str
    """What it is called, such as ``samples``."""
    path: str
    """In the study's folder."""
    about: str
    """What is to be seen."""
    sha256: str = ""
    """Of its content: what a repetition is compared by."""


class RunRecord(Frozen):
    """One run, whatever came of it."""

    model_config = ConfigDict(populate_by_name=True)

    schema_: Literal["peftscope.record/1"] = Field(default="peftscope.record/1", alias="schema")
    run_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    spec: RunSpec
    status: Status
    reason: str | None = None
    """Why the run is not ``ok``."""
    attempts: tuple[Attempt, ...] = ()
    method_facts: MethodFacts | None = None
    base_width: int | None = None
    """Hidden size of the base, by which a search of learning rates begins; None where it is not known."""
    weights_sha256: str | None = None
    """Hash of the weight files that were really loaded."""
    data: dict[str, Any] = Field(default_factory=dict)
    """Task version, fingerprints and sizes of the splits."""
    metric: MetricSpec | None = None
    """What ``test_score`` and ``valid_score`` are: the task's metric."""
    metrics: dict[str, float | int | None] = Field(default_factory=dict)
    missing: dict[str, str] = Field(default_factory=dict)
    """For every metric that is None: why."""
    curve: tuple[CurvePoint, ...] = ()
    examples: tuple[ExampleOutcome, ...] = ()
    """Of the test split; of a trial, of the validation split."""
    artefacts: tuple[Artefact, ...] = ()
    warnings: tuple[str, ...] = ()
    protocol: Protocol | None = None
    """The conditions the figures were taken under; None where the run did not come so far."""
    quality_protocol: str | None = None
    """Hash of the conditions that decide quality: scores are ranked within one alone."""
    cost_protocol: str | None = None
    """Hash of the conditions that decide time and memory: these are ranked within one alone."""
    origin: Literal["own", "foreign"] = "own"
    """``foreign``: imported from results that others made."""
    single: bool = False
    """One training, no score per example: no interval can be given."""
    foreign: dict[str, Any] | None = None
    """The document a foreign record was read from, whole."""

    @property
    def num_starts(self) -> int:
        """Attempts at the run itself; repetitions made to be compared are not among them."""
        return sum(attempt.kind == "run" for attempt in self.attempts)

    @property
    def is_predicted_refusal(self) -> bool:
        """Whether it was not tried the last time because it was predicted not to fit, which may be otherwise by now."""
        return self.status == "refused" and not (self.attempts and self.attempts[-1].status == "refused")

    @property
    def rungs(self) -> tuple[int, ...]:
        """Steps at which it was validated as a trial."""
        return tuple(point.step for point in self.curve if point.valid_loss is not None)

    @property
    def has_paused(self) -> bool:
        """Whether an attempt of a trial ended at a rung; its losses hold whatever later attempts came to."""
        return "eliminated" in (self.status, *(attempt.status for attempt in self.attempts))
