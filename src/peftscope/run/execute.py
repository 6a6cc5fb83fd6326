"""One ``RunSpec`` -> one ``RunRecord``, also when it fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from peftscope.capture import capture
from peftscope.methods.build import BuildContext, Built, build
from peftscope.methods.optimizers import settings_of
from peftscope.models.generation import TextGenerator
from peftscope.models.load import LoadedModel, load
from peftscope.run.baseline import retention_baseline
from peftscope.run.environment import describe_environment
from peftscope.run.measure import Measured, measure_result, score_split
from peftscope.spec.record import Attempt, RunRecord, TechniqueFacts, timestamp
from peftscope.spec.run import RunSpec
from peftscope.tasks import registry
from peftscope.tasks.base import Task, TaskContext
from peftscope.train.loop import FitResult, Hooks, Progress, fit
from peftscope.train.memory import PeakMeter, anonymous_bytes
from peftscope.train.memory_settings import prepare
from peftscope.train.metrics import OF_TRAINING
from peftscope.train.seeding import seed_everything
from peftscope.train.storage import LiveStorage, tensors_of

__all__ = ["Event", "execute"]

CALIBRATION_BATCHES = 32
"""Training batches, the first of the run's own order, that a data-driven initialisation sees."""

Event = Callable[[str, Progress | None], None]
"""Told the name of each stage as it begins (``load``, ``train``, ``score``, …), and each training step."""


def execute(spec: RunSpec, folder: Path, *, on_event: Event = lambda stage, progress: None) -> RunRecord:
    """Do one run.

    Args:
        spec: What to do.
        folder: The study's folder: cache and adapters live there. The record is returned, not written.
        on_event: Told how the run gets on.

    Returns:
        The record: with status ``ok``, or with what failed and everything measured until then.
    """
    started = time.perf_counter()
    run = _Run(spec, folder, on_event)
    attempt_start = timestamp()
    failure = capture(run.go)
    run.measured.put("total_time_s", time.perf_counter() - started - run.shared_s)
    attempt = Attempt(
        started_at=attempt_start,
        ended_at=timestamp(),
        status=failure.status if failure else "ok",
        reason=failure.reason if failure else None,
        traceback=failure.traceback if failure else None,
        environment=describe_environment(run.loaded.device if run.loaded else None),
    )
    return run.record(attempt)


def _rate_source(spec: RunSpec, built: Built) -> str | None:
    rate = built.card.rate
    if rate is None or spec.learning_rate is None:
        return None
    source = f"{rate.source.kind}: {rate.source.where}"
    return f"the card's default ({source})" if spec.learning_rate == rate.default else "given with the study"


class _Run:
    """A run on its way; what it has found so far is kept for the record whenever it stops."""

    def __init__(self, spec: RunSpec, folder: Path, on_event: Event) -> None:
        self.spec, self.folder, self.on_event = spec, folder, on_event
        self.measured = Measured()
        self.fit = FitResult()
        self.loaded: LoadedModel | None = None
        self.task: Task | None = None
        self.built: Built | None = None
        self.warnings: list[str] = []
        self.shared_s = 0.0
        """Time spent on what all runs of a study share, whichever run comes first."""

    def go(self) -> None:
        """Load, build, train, measure; whatever is raised ends the run."""
        spec, stage = self.spec, self._stage
        stage("load")
        before = anonymous_bytes()
        loaded = self.loaded = load(spec.model)
        if loaded.device.type == "cpu":
            self.measured.put("sampled_base_memory_bytes", max(0, anonymous_bytes() - before))
        self.measured.put("base_memory_bytes", LiveStorage(tensors_of(loaded.model)).live_bytes)
        stage("data")
        task = self.task = registry.create(spec.task, TaskContext.of(spec.train, loaded.tokenizer))
        self.warnings += task.warnings()
        retention = task.retention(spec.measure)
        baseline = None
        if retention is not None:
            stage("baseline")
            started = time.perf_counter()
            baseline = retention_baseline(retention, loaded, spec.model, self.folder / "cache")
            self.shared_s = time.perf_counter() - started
        stage("build")
        built = self.built = self._build(loaded, task)
        generate = TextGenerator(loaded.tokenizer, loaded.device)
        if built.card.trains:
            self._train(built, task, generate)
        measure_result(
            built,
            task,
            generate,
            spec,
            self.measured,
            checkpoint=self.folder / "adapters" / spec.run_id,
            retention=(retention, baseline) if retention is not None and baseline is not None else None,
            stage=stage,
        )

    def record(self, attempt: Attempt) -> RunRecord:
        """The record of everything found."""
        built, measured, fit_result = self.built, self.measured, self.fit
        if fit_result.steps_done:
            measured.put("train_loss", fit_result.final_loss)
            measured.put("train_time_s", fit_result.train_time_s)
            measured.put("num_steps", fit_result.steps_done)
            measured.put("num_samples", fit_result.num_samples)
            measured.put("num_units", fit_result.num_units)
            if fit_result.train_time_s:
                measured.put("units_per_s", fit_result.num_units / fit_result.train_time_s)
        if attempt.status == "ok" and built is not None and not built.card.trains:
            measured.missing = {**dict.fromkeys(OF_TRAINING, "the base is not trained"), **measured.missing}
        metrics, missing = measured.complete(attempt.reason or "not measured")
        return RunRecord(
            run_id=self.spec.run_id,
            spec=self.spec,
            status=attempt.status,
            reason=attempt.reason,
            attempts=(attempt,),
            technique=None
            if built is None
            else TechniqueFacts(
                tuner_class=built.tuner_class,
                adapted_modules=built.adapted_modules,
                peft_config=built.peft_config,
                learning_rate_source=_rate_source(self.spec, built),
            ),
            weights_sha256=self.loaded.weights_sha256 if self.loaded else None,
            data=self.task.fingerprint() if self.task else {},
            metrics=metrics,
            missing=missing,
            curve=tuple(fit_result.curve),
            examples=tuple(measured.examples),
            warnings=tuple(dict.fromkeys([*self.warnings, *measured.warnings])),
        )

    def _stage(self, name: str) -> None:
        self.on_event(name, None)

    def _build(self, loaded: LoadedModel, task: Task) -> Built:
        spec = self.spec
        prepare(loaded.model, spec.train)
        seed_everything(spec.seed)
        built = build(
            loaded.model,
            spec.method,
            BuildContext(
                seed=spec.seed,
                max_steps=spec.train.max_steps,
                learning_rate=spec.learning_rate,
                calibration=lambda: islice(task.batches(spec.seed), CALIBRATION_BATCHES),
                tokenizer=loaded.tokenizer,
                autocast_adapter_dtype=spec.train.autocast_adapter_dtype,
                warn=self.warnings.append,
            ),
        )
        self.measured.put("num_trainable_params", built.num_trainable_params)
        self.measured.put("num_total_params", built.num_total_params)
        return built

    def _train(self, built: Built, task: Task, generate: TextGenerator) -> None:
        spec = self.spec
        assert spec.learning_rate is not None, "a technique that trains has a learning rate"
        device = next(built.model.parameters()).device
        optimizer = built.make_optimizer(settings_of(spec))
        self._stage("train")
        seed_everything(spec.seed)

        def validate() -> float:
            meter.pause()
            self._stage("validate")
            outcomes = score_split(task, built.model, generate, "valid")
            self._stage("train")
            meter.resume()
            return sum(o.score for o in outcomes) / len(outcomes)

        with PeakMeter(device) as meter:
            fit(
                built.model,
                task,
                spec.train,
                optimizer=optimizer,
                seed=spec.seed,
                result=self.fit,
                hooks=Hooks(after_step=built.after_step, penalty=built.penalty),
                validate=validate,
                on_progress=lambda progress: self.on_event("train", progress),
            )
        self.measured.put_peaks("train", meter)
