"""What is asked of a prediction: a method, a base, and the circumstances of the training."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from peftscope.footprint.footprint import DEFAULT_LENGTH
from peftscope.footprint.meta_kernels import Target
from peftscope.models.kinds.base import ModelProfile
from peftscope.schema.study import MethodSpec, StudySpec, TrainSpec
from peftscope.tasks.base import Retention
from peftscope.tasks.registry import options_of

__all__ = ["FootprintQuery", "Workload", "footprint_queries"]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The circumstances of the training."""

    batch_size: int
    length: int
    """Tokens in a sequence; of images the side in pixels."""
    train: TrainSpec = field(default_factory=TrainSpec)
    """Memory setting, checkpointing, clipping, accumulation, the adapter's type; steps and batch size make no
    difference."""
    target: Target = "accelerator"
    optimizer: str | None = None
    """One of ``methods.optimizers.GENERAL`` instead of what runs take; methods with one of their own keep it."""
    eval_batch_size: int | None = None
    """None scores in batches of the training's size …"""
    eval_length: int | None = None
    """… up to its length, prompt and answer together."""
    scorer_bytes: int = 0
    """Of models that set what was made against what was wanted, where they lie on the device …"""
    scorer_work_bytes: int = 0
    """… and what they take while they do."""
    retention: Retention | None = None
    """What measures, after scoring, what the trained model lost of what its base could do."""
    scoring: bool = True
    """Predict what scoring takes, too."""
    every_layer: bool = False
    """Count all blocks, where a few would stand for all."""


@dataclass(frozen=True, kw_only=True)
class FootprintQuery:
    """What is asked about: a method on a base under some circumstances."""

    method: MethodSpec
    profile: ModelProfile
    workload: Workload
    experiment: str | None = None
    """Name of the experiment folder behind it."""

    def described(self) -> str:
        """Base and circumstances, in a line."""
        load = self.workload
        words = [self.profile.described(), f"batch {load.batch_size} × {load.length} {self.profile.unit}", load.target]
        setting = [] if load.train.memory == "plain" else [f"memory: {load.train.memory}"]
        return ", ".join([*words, *setting, *(["checkpointing"] if load.train.checkpointing else [])])


def footprint_queries(study: StudySpec, profile: ModelProfile) -> list[FootprintQuery]:
    """Every method of a study, in batches of its training and scoring at their longest, as far as settings tell."""
    train, options = study.train, options_of(study.task)
    workload = Workload(
        batch_size=train.batch_size,
        length=min(options.longest or DEFAULT_LENGTH, profile.max_length or sys.maxsize),
        train=train,
        eval_batch_size=options.scored_at_once,
    )
    return [FootprintQuery(method=method, profile=profile, workload=workload) for method in study.methods]
