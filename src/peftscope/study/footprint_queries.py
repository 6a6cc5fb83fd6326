"""Whose footprints are predicted: methods of a study, of experiment folders or by name, each on its base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from peftscope.errors import ModelError, SpecError
from peftscope.footprint.footprint import DEFAULT_LENGTH
from peftscope.schema.study import MemorySetting, MethodSpec, ModelSpec, TrainSpec

if TYPE_CHECKING:
    from peftscope.footprint.query import FootprintQuery
    from peftscope.models.kinds.base import ModelProfile

__all__ = ["Circumstances", "about_experiments", "about_methods", "about_study"]

DEFAULT_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """Circumstances as the user gave them; None takes those of the study or experiment, or the default."""

    model: str | None = None
    batch_size: int | None = None
    length: int | None = None
    eval_batch_size: int | None = None
    dtype: Literal["bfloat16", "float16", "float32"] | None = None
    quantization: Literal["nf4", "int8"] | None = None
    checkpointing: bool | None = None
    memory: MemorySetting | None = None
    optimizer: str | None = None
    target: Literal["accelerator", "cpu"] = "accelerator"

    def applied_to(self, query: FootprintQuery) -> FootprintQuery:
        """The question with what was given in place of its own.

        Raises:
            SpecError: The settings of the training do not go together.
        """
        load = query.workload
        changed: dict[str, Any] = {
            "batch_size": self.batch_size or load.batch_size,
            "checkpointing": load.train.checkpointing if self.checkpointing is None else self.checkpointing,
            "memory": self.memory or load.train.memory,
        }
        if changed["checkpointing"] and changed["memory"] == "lean":
            raise SpecError("plan", ["memory lean and checkpointing: take one of the two away"])
        load = replace(
            load,
            batch_size=changed["batch_size"],
            length=self.length or load.length,
            train=load.train.model_copy(update=changed),
            target=self.target,
            optimizer=self.optimizer,
            eval_batch_size=self.eval_batch_size or load.eval_batch_size,
            eval_length=self.length or load.eval_length,
        )
        return replace(query, workload=load)

    def profile(self, own: ModelSpec | None = None) -> ModelProfile:
        """The base that was given, or a study's own.

        Raises:
            ModelError: There is no such model, or it is none we can predict.
        """
        import torch

        from peftscope.models.kinds.registry import profile_of

        source = self.model or (own.source if own else "")
        dtype = self.dtype or (own.dtype if own and own.dtype != "auto" else None)
        dtype = dtype or ("float32" if self.target == "cpu" else "bfloat16")  # as runs take it there
        quantization = self.quantization or (own.quantization if own else None)
        if isinstance(quantization, dict):
            raise ModelError(
                "model.quantization: a mapping's sizes are not predicted; nf4 and int8 are (--quantization)"
            )
        own = own or ModelSpec(source=source)
        own = own.model_copy(update={"source": source, "quantization": quantization})
        own = own.model_copy(update={"revision": None}) if self.model else own
        profile = profile_of(own, getattr(torch, dtype))
        if self.length is not None and profile.max_length is not None and self.length > profile.max_length:
            raise SpecError(
                "plan", [f"sequences of {self.length:,} {profile.unit}; this model takes {profile.max_length:,}"]
            )
        profile.base()  # a config no model can be built from is said once, not for every method
        return profile


def about_study(path: Path, given: Circumstances) -> list[FootprintQuery]:
    """Every method of a study, on its model and as it would train there."""
    from peftscope.footprint.query import footprint_queries
    from peftscope.models.source import anchored
    from peftscope.schema.reader import read_study
    from peftscope.study.vocabulary import vocabulary
    from peftscope.tasks.registry import kind_of

    spec = read_study(path, vocabulary())
    model = anchored(spec.model, path.parent)
    kind = kind_of(model, spec.task).name
    profile = given.profile(model.model_copy(update={"kind": kind}))
    return [given.applied_to(query) for query in footprint_queries(spec, profile)]


def about_methods(methods: Sequence[str], given: Circumstances) -> list[FootprintQuery]:
    """Methods by name, with their cards' settings."""
    from peftscope.footprint.query import FootprintQuery, Workload

    profile = given.profile()
    workload = Workload(batch_size=DEFAULT_BATCH, length=DEFAULT_LENGTH, train=TrainSpec())
    return [
        given.applied_to(FootprintQuery(method=MethodSpec(name=name), profile=profile, workload=workload))
        for name in methods
    ]


def about_experiments(folder: Path, given: Circumstances) -> list[FootprintQuery]:
    """Experiment folders of the public benchmark, each in its own circumstances.

    Raises:
        SpecError: There is none, or a folder is of one benchmark and the others of the other.
    """
    from peftscope.footprint.experiment import query_of
    from peftscope.upstream.experiment import read_experiment

    inside = {file.parent for name in ("adapter_config.json", "training_params.json") for file in folder.rglob(name)}
    if not inside:
        raise SpecError(str(folder), ["no experiment folder in it"])
    experiments = [read_experiment(place) for place in sorted(inside)]
    benchmarks = sorted({experiment.benchmark for experiment in experiments})
    if len(benchmarks) > 1:
        raise SpecError(str(folder), [f"holds {' and '.join(benchmarks)}; give one of them"])
    params = experiments[0].training_params
    profile = given.profile(ModelSpec(source=params["model_id"], dtype=params["dtype"]))
    return [given.applied_to(query_of(experiment, profile)) for experiment in experiments]
