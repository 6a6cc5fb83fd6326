"""What can be known to be wrong before anything is trained, and what is prepared once for all runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import torch

from peftscope.capture import capture
from peftscope.errors import MissingExtra, ModelError, SpecError
from peftscope.footprint.footprint import Forecast
from peftscope.footprint.forecast import forecasts
from peftscope.footprint.query import FootprintQuery, Workload
from peftscope.measures.registry import measurements
from peftscope.measures.storage import LiveStorage, tensors_of
from peftscope.methods.configure import target_problems
from peftscope.methods.coverage import coverage
from peftscope.models.device import choose_device, memory_bytes
from peftscope.models.kinds.base import BaseFacts, ModelKind, ModelProfile
from peftscope.schema.run import RunSpec
from peftscope.tasks import registry
from peftscope.tasks.base import Split, Task, TaskContext
from peftscope.tuning.check_result import CheckResult, Machine
from peftscope.tuning.conditions import quality_conditions

__all__ = ["check"]


def check(runs: Sequence[RunSpec], cache: Path) -> CheckResult:
    """Read and check model and data of a study by its runs (all of them share both), keep the data, predict memory.

    Args:
        runs: One of the study's runs for every method.
        cache: The study's cache folder; the prepared data are kept there by content hash.

    Raises:
        ModelError: The base model is not there, its processor cannot be loaded, or the device is not there.
        DataError: A file, column or split is missing or empty, or a prompt is over the limit.
        SpecError: The task's options are wrong.
        StoreError: The cache cannot be written to.
        PlugInError: What another package added cannot be loaded.
    """
    run = runs[0]
    for _ in measurements():  # one that cannot be loaded is named now and not by every run
        pass
    device = choose_device(run.model.device)
    kind = registry.kind_of(run.model, run.task)
    base = kind.inspect(run.model)
    context = TaskContext(processor=base.processor, kind=kind.name, batch_size=run.train.batch_size)
    task = registry.create(run.task, context)
    run = run.model_copy(update={"train": run.train.with_steps(task.epoch_size())})
    quality = quality_conditions(run, kind, base, task, task.retention())
    profile = _profile(runs[0], kind, base)
    said = [] if profile is None else _coverage_notes(runs, profile)
    cached = registry.cache_task(task, cache)
    if run.vary_split:
        task.resplit(run.seed)  # whether it can
    machine = _machine(device)
    predicted, failed = _predictions(runs, task, profile, machine)
    return CheckResult(
        metric=task.metric,
        quality=quality,
        cached=cached,
        machine=machine,
        width=base.width,
        sizes={split: task.size(split) for split in get_args(Split)},
        epoch_size=task.epoch_size(),
        read_from=_read_from(runs[0], base, task),
        notes=(*task.warnings(), *said, *failed),
        forecasts=predicted,
    )


def _read_from(run: RunSpec, base: BaseFacts, task: Task) -> tuple[Path, ...] | None:
    """What on this machine was read; None where the task, or a kind without files, does not tell."""
    sources = task.sources()
    if sources is None or base.folder is None:
        return None
    given = Path(run.model.source).expanduser()
    return tuple(dict.fromkeys([base.folder, *([given.absolute()] if given.exists() else []), *sources]))


def _profile(run: RunSpec, kind: ModelKind, base: BaseFacts) -> ModelProfile | None:
    """The shapes of the base that was found; None where sizes are not predicted."""
    model = run.model
    if base.folder is not None:  # what was found is there; nothing is to be fetched again
        model = model.model_copy(update={"source": str(base.folder), "revision": None})
    return kind.profile(model, base.dtype)


def _coverage_notes(runs: Sequence[RunSpec], profile: ModelProfile) -> list[str]:
    """What the policy for targets leaves out of the base.

    Raises:
        SpecError: A method names targets that the base has not.
    """
    try:
        base = profile.base()
    except (ModelError, MissingExtra):  # a prediction says so with its reason
        return []
    problems = [f"{run.method.title}: {line}" for run in runs for line in target_problems(base, run.method)]
    if problems:
        raise SpecError("methods", problems)
    return [*profile.notes(), *coverage(base).lines()]


def _predictions(
    runs: Sequence[RunSpec], task: Task, profile: ModelProfile | None, machine: Machine
) -> tuple[tuple[Forecast, ...], list[str]]:
    """What each method would take, and why it cannot be told where it cannot."""
    found: list[Forecast] = []
    if profile is not None:
        failure = capture(lambda: found.extend(_forecasts(runs, task, profile, machine)))
        if failure is not None:
            return (), [f"memory and time are not predicted: {failure.reason}"]
    reasons: dict[str, list[str]] = {}
    for each in (forecast.footprint for forecast in found):
        if each.reason is not None:
            reasons.setdefault(each.reason.removeprefix(f"{each.method}: "), []).append(each.method)
    return tuple(found), [f"not predicted for {', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _forecasts(runs: Sequence[RunSpec], task: Task, profile: ModelProfile, machine: Machine) -> Iterator[Forecast]:
    """From the base's shapes and the longest samples of the data."""
    largest = task.largest_training()
    if largest is None:
        return
    eval_batch_size, eval_length = task.largest_scoring() or (None, None)
    scorer_bytes, scorer_work_bytes = _scorer_bytes(task) if machine.device == "cpu" else (0, 0)
    workload = Workload(
        batch_size=largest[0],
        length=largest[1],
        train=runs[0].train,
        target="cpu" if machine.device == "cpu" else "accelerator",
        eval_batch_size=eval_batch_size,
        eval_length=eval_length,
        scorer_bytes=scorer_bytes,
        scorer_work_bytes=scorer_work_bytes,
        retention=task.retention(),
    )
    asked = [FootprintQuery(method=run.method, profile=profile, workload=workload) for run in runs]
    yield from forecasts(asked, limit=machine.memory_bytes)


def _scorer_bytes(task: Task) -> tuple[int, int]:
    """What other models that score take, and what they take beside that while they work: metered once."""
    scorer = task.scorer()
    if scorer is None:
        return 0, 0
    with LiveStorage(tensor for model in scorer.models for tensor in tensors_of(model)) as storage:
        there = storage.live_bytes
        scorer.work()
    return there, storage.peak_bytes - there


def _machine(device: torch.device) -> Machine:
    from joblib import cpu_count  # importing it sets an environment variable

    return Machine(
        device=device.type,
        num_devices=0 if device.type == "cpu" else torch.accelerator.device_count(),
        num_cores=cpu_count(),
        num_threads=torch.get_num_threads(),
        memory_bytes=memory_bytes(device),
    )
