"""One ``RunSpec`` -> one ``RunRecord``, also when it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from peftscope.analysis.rate_source import known_source
from peftscope.capture import capture
from peftscope.errors import MethodRefused
from peftscope.execution.baseline import retention_baseline
from peftscope.execution.environment import describe_environment
from peftscope.execution.measure import Measurements
from peftscope.measures.base import Measured, Trained
from peftscope.measures.peak_meter import anonymous_bytes
from peftscope.measures.registry import metric_specs
from peftscope.measures.score import mean_score, score_split
from peftscope.measures.storage import LiveStorage, tensors_of
from peftscope.methods.build import BuildContext, Built, build, refusing
from peftscope.methods.coverage import lines_of
from peftscope.methods.optimizers import settings_of
from peftscope.models.device import synchronize
from peftscope.models.kinds.base import LoadedModel, ModelKind
from peftscope.schema.base import content_hash
from peftscope.schema.protocol import Protocol
from peftscope.schema.record import Attempt, MethodFacts, RunRecord, timestamp
from peftscope.schema.run import RunSpec
from peftscope.store.run_states import paused_folder
from peftscope.tasks import registry
from peftscope.tasks.base import Predictor, Task, TaskContext
from peftscope.tasks.sealed import sealed
from peftscope.training.loop import Fit, Hooks, Progress, held_out_loss
from peftscope.training.memory_settings import prepare, unmet_setting
from peftscope.training.pause import Pauses
from peftscope.training.result import FitResult
from peftscope.training.seeding import seed_everything
from peftscope.tuning.conditions import cost_conditions, quality_conditions

__all__ = ["Event", "execute"]

CALIBRATION_BATCHES = 32
"""Training batches, the first of the run's own order, that a data-driven initialisation sees."""

Event = Callable[[str, Mapping[str, Any]], None]
"""Told the name of each stage as it begins (``load``, ``train``, ``score``, …), and within one what is new in the
run's state: ``step``, ``loss``, … or ``num_scored``, ``num_to_score``. May raise ``Stopped`` to end the run."""


def execute(
    spec: RunSpec,
    folder: Path,
    *,
    on_event: Event = lambda stage, news: None,
    cached: Path | None = None,
    num_workers: int = 1,
    until: int | None = None,
) -> RunRecord:
    """Do one run.

    Args:
        spec: What to do.
        folder: The study's folder: cache and adapters live there. The record is returned, not written.
        on_event: Told how the run gets on.
        cached: Where the task's data lie prepared; None prepares them here.
        num_workers: Runs of the study under way at once.
        until: For a trial, the rung at which it is to pause; None goes to the end. A paused trial goes on from there.

    Returns:
        The record: with status ``ok``, with ``eliminated`` where it paused (and is not gone on with), or with what
        failed; and everything measured until then.
    """
    started = time.perf_counter()
    run = _Run(spec, folder, on_event, cached, until)
    attempt_start = timestamp()
    failure = capture(run.go)
    run.measured.put("total_time_s", time.perf_counter() - started - run.shared_s)
    environment = describe_environment(run.loaded.device if run.loaded else None, num_workers=num_workers)
    attempt = Attempt(
        started_at=attempt_start,
        ended_at=timestamp(),
        status=failure.status if failure else "eliminated" if run.is_paused else "ok",
        reason=failure.reason.removeprefix(f"{spec.method.name}: ") if failure else run.pause_reason,
        traceback=failure.traceback if failure else None,
        environment=environment,
        reached=run.reached if failure and failure.status == "killed" else None,
    )
    return run.record(attempt)


def _task_context(spec: RunSpec, kind: ModelKind, loaded: LoadedModel) -> TaskContext:
    return TaskContext(processor=loaded.processor, kind=kind.name, batch_size=spec.train.batch_size)


def _rate_source(spec: RunSpec, built: Built) -> str | None:
    rate = built.card.rate
    return None if rate is None else known_source(spec, rate.default, f"{rate.source.kind}: {rate.source.where}")


def _require_positions(built: Built, loaded: LoadedModel, task: Task) -> None:
    """Refuse virtual tokens that there are no positions for beside the longest sequence.

    Raises:
        MethodRefused: They are too many.
    """
    virtual = int((built.peft_config or {}).get("num_virtual_tokens") or 0) if built.card.virtual_tokens else 0
    sizes = [size for size in (task.largest_training(), task.largest_scoring()) if size is not None]
    longest = max((length for _, length in sizes), default=0)
    if virtual and loaded.num_positions is not None and longest + virtual > loaded.num_positions:
        raise MethodRefused(
            f"{built.card.name}: {virtual} virtual tokens beside the longest sequence of {longest} are more than the "
            f"model's {loaded.num_positions} positions; lower num_virtual_tokens, or shorten sequences and answers to "
            f"{loaded.num_positions - virtual}"
        )


class _Run:
    """A run on its way; what it has found so far is kept for the record whenever it stops."""

    def __init__(self, spec: RunSpec, folder: Path, on_event: Event, cached: Path | None, until: int | None) -> None:
        self.spec, self.folder, self.on_event, self.cached = spec, folder, on_event, cached
        self.run_id = spec.run_id
        self.until = until
        self.stage_name = ""
        self.quality: dict[str, Any] | None = None
        self.measured = Measured()
        self.fit = FitResult()
        self.kind: ModelKind | None = None
        self.loaded: LoadedModel | None = None
        self.task: Task | None = None
        self.built: Built | None = None
        self.optimizer: Optimizer | None = None
        self.warnings: list[str] = []
        self.shared_s = 0.0
        """Time spent on what all runs of a study share, whichever run comes first."""

    def go(self) -> None:
        """Load, build, train, measure; whatever is raised ends the run."""
        spec, stage = self.spec, self._stage
        stage("load")
        kind = self.kind = registry.kind_of(spec.model, spec.task)
        before = anonymous_bytes()
        loaded = self.loaded = kind.load(spec.model)
        if loaded.device.type == "cpu":
            self.measured.put("sampled_base_memory_bytes", max(0, anonymous_bytes() - before))
        self.measured.put("base_memory_bytes", LiveStorage(tensors_of(loaded.model)).live_bytes)
        stage("data")
        task = registry.create(spec.task, _task_context(spec, kind, loaded), cached=self.cached)
        if spec.vary_split:
            task.resplit(spec.seed)
        task = self.task = sealed(task) if spec.purpose == "trial" else task
        self.warnings += task.warnings()
        retention = task.retention()
        self.quality = quality_conditions(spec, kind, loaded, task, retention)
        baseline = None
        if retention is not None and spec.purpose == "final":
            stage("baseline")
            started = time.perf_counter()
            baseline = retention_baseline(retention, loaded, spec.model, self.folder / "cache")
            self.shared_s = time.perf_counter() - started
        stage("build")
        built = self.built = self._build(kind, loaded, task)
        self.warnings += lines_of(built.left_out)
        if spec.train.saves_loss_memory and (unmet := kind.unmet_memory_setting(built.model)) is not None:
            self.warnings.append(unmet_setting(spec.train, unmet))
        predictor = kind.predictor(loaded, self._scored)
        measurements = Measurements(self.measured)
        _require_positions(built, loaded, task)
        with refusing(built.card, lambda: self.fit.steps_done == 0):
            if built.card.reaches_past_layers:
                kind.rehearse(built.model, predictor)
            if built.card.trains:
                self._train(built, task, predictor, measurements)
        if self.is_paused:
            return
        if "peak_train_memory_bytes" in self.measured.metrics:
            self.optimizer = None  # what it holds would be counted in scoring
        trained = Trained(
            built=built,
            kind=kind,
            task=task,
            predictor=predictor,
            spec=spec,
            checkpoint=self.folder / "adapters" / spec.run_id,
            folder=self.folder,
            optimizer=self.optimizer,
            retention=(retention, baseline) if retention is not None and baseline is not None else None,
        )
        if spec.purpose == "trial":
            measurements.take_of_trial(trained, stage=stage)
            return
        measurements.take_of_result(trained, stage=stage)
        self.warnings += kind.prediction_notes(predictor)

    def record(self, attempt: Attempt) -> RunRecord:
        """The record of everything found."""
        built, measured, fit_result = self.built, self.measured, self.fit
        specs = metric_specs(self.kind.name if self.kind is not None else None)
        if fit_result.steps_done:
            measured.put("train_loss", fit_result.final_loss)
            measured.put("train_time_s", fit_result.train_time_s)
            measured.put("num_steps", fit_result.steps_done)
            measured.put("num_samples", fit_result.num_samples)
            measured.put("num_units", fit_result.num_units)
            if fit_result.train_time_s:
                measured.put("units_per_s", fit_result.num_units / fit_result.train_time_s)
        if attempt.status == "ok" and built is not None and not built.card.trains:
            untrained = [name for name, metric in specs.items() if metric.needs_training]
            measured.missing = {**dict.fromkeys(untrained, "the base is not trained"), **measured.missing}
        assert self.spec.run_id == self.run_id, "what a run was told has been changed while it ran"
        unmeasured = (
            "a trial sees training and validation data alone" if self.spec.purpose == "trial" else "not measured"
        )
        asked = [name for name, metric in specs.items() if not metric.on_request or name in measured.metrics]
        metrics, missing = measured.complete(asked, attempt.reason or unmeasured)
        protocol = None
        if self.quality is not None:
            protocol = Protocol(quality=self.quality, cost=cost_conditions(self.spec, attempt.environment))
        return RunRecord(
            run_id=self.spec.run_id,
            spec=self.spec,
            status=attempt.status,
            reason=attempt.reason,
            attempts=(attempt,),
            method_facts=None
            if built is None
            else MethodFacts(
                tuner_class=built.tuner_class,
                adapted_modules=built.adapted_modules,
                adapted_share=built.adapted_share,
                left_out={left.what: left.share for left in built.left_out},
                peft_config=built.peft_config,
                learning_rate_source=_rate_source(self.spec, built),
            ),
            base_width=self.loaded.width if self.loaded else None,
            weights_sha256=self.loaded.weights_sha256 if self.loaded else None,
            data=self.task.fingerprint() if self.task else {},
            metric=self.task.metric if self.task else None,
            metrics=metrics,
            missing=missing,
            curve=tuple(fit_result.curve),
            examples=tuple(measured.examples),
            artefacts=tuple(measured.artefacts),
            warnings=tuple(dict.fromkeys([*self.warnings, *measured.warnings])),
            protocol=protocol,
            quality_protocol=protocol.quality_hash if protocol else None,
            cost_protocol=protocol.cost_hash if protocol else None,
        )

    @property
    def is_paused(self) -> bool:
        """Whether training stopped at the rung it was to stop at."""
        return self.until is not None and self.stage_name == "train" and self.fit.steps_done == self.until

    @property
    def pause_reason(self) -> str | None:
        """Why a trial that paused has no end."""
        if not self.is_paused:
            return None
        return f"stopped after step {self.until} of {self.spec.train.max_steps}, to be compared with other trials"

    @property
    def reached(self) -> str:
        """How far it has come."""
        steps = f", step {self.fit.steps_done} of {self.spec.train.max_steps}" if self.stage_name == "train" else ""
        return self.stage_name + steps

    def _stage(self, name: str) -> None:
        self.stage_name = name
        self.on_event(name, {})

    def _stepped(self, progress: Progress) -> None:
        news = {"step": progress.step, "max_steps": progress.max_steps, "loss": progress.loss}
        self.on_event("train", news if progress.valid_score is None else {**news, "valid_score": progress.valid_score})

    def _scored(self, num_scored: int, num_to_score: int) -> None:
        self.on_event(self.stage_name, {"num_scored": num_scored, "num_to_score": num_to_score})

    def _build(self, kind: ModelKind, loaded: LoadedModel, task: Task) -> Built:
        spec = self.spec
        prepare(loaded.model, spec.train)
        seed_everything(spec.seed)
        started = time.perf_counter()
        built = build(
            loaded.model,
            spec.method,
            BuildContext(
                seed=spec.seed,
                max_steps=spec.train.max_steps,
                learning_rate=spec.learning_rate,
                calibration=lambda: islice(task.batches(spec.seed), CALIBRATION_BATCHES),
                task_type=kind.task_type,
                inputs=kind.inputs(loaded.processor),
                processor=loaded.processor,
                autocast_adapter_dtype=spec.train.autocast_adapter_dtype,
                warn=self.warnings.append,
            ),
        )
        if built.card.trains:
            synchronize(loaded.device)
            self.measured.put("init_time_s", time.perf_counter() - started)
        self.measured.put("num_trainable_params", built.num_trainable_params)
        self.measured.put("num_total_params", built.num_total_params)
        return built

    def _train(self, built: Built, task: Task, predictor: Predictor, measurements: Measurements) -> None:
        spec = self.spec
        assert spec.learning_rate is not None, "a method that trains has a learning rate"
        optimizer = self.optimizer = built.make_optimizer(settings_of(spec))
        self._stage("train")
        seed_everything(spec.seed)

        def validate() -> float:
            with measurements.paused():
                self._stage("validate")
                outcomes = score_split(task, built.model, predictor, "valid")
                self._stage("train")
            return mean_score(outcomes)

        with measurements.watching(built):
            Fit(
                built.model,
                task,
                spec.train,
                optimizer=optimizer,
                seed=spec.seed,
                result=self.fit,
                hooks=Hooks(after_step=built.after_step, penalty=built.penalty),
                validate=validate,
                pauses=self._pauses(built, task) if spec.purpose == "trial" else None,
                on_progress=self._stepped,
            ).run()

    def _pauses(self, built: Built, task: Task) -> Pauses:
        def measure() -> float:
            self._stage("validate")
            loss = held_out_loss(built.model, task, task.eval_batches("valid"))
            self._stage("train")
            return loss

        state = paused_folder(self.folder) / f"{self.spec.run_id}.pt"
        versions = {name: version(name) for name in ("torch", "peft")}
        return Pauses(
            rungs=self.spec.rungs,
            measure=measure,
            until=self.until,
            state=state if built.card.resumes else None,
            conditions=content_hash({"quality": self.quality, "versions": versions}),
        )
