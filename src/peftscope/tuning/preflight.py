"""What can be known to be wrong before anything is trained, and what is prepared once for all runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import torch

from peftscope.capture import capture
from peftscope.footprint.footprint import Forecast
from peftscope.footprint.forecast import forecasts
from peftscope.footprint.query import FootprintQuery, Workload
from peftscope.measures.registry import measurements
from peftscope.models.device import choose_device, memory_bytes
from peftscope.models.kinds.base import BaseFacts, ModelKind
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
    cached = registry.cache_task(task, cache)
    if run.vary_split:
        task.resplit(run.seed)  # whether it can
    machine = _machine(device)
    return CheckResult(
        metric=task.metric,
        quality=quality,
        cached=cached,
        machine=machine,
        width=base.width,
        sizes={split: task.size(split) for split in get_args(Split)},
        epoch_size=task.epoch_size(),
        notes=tuple(task.warnings()),
        forecasts=_predictions(runs, task, kind, base, machine),
    )


def _predictions(
    runs: Sequence[RunSpec], task: Task, kind: ModelKind, base: BaseFacts, machine: Machine
) -> tuple[Forecast, ...]:
    """What each method would take; nothing where that cannot be told, which is no reason not to try."""
    found: list[Forecast] = []
    capture(lambda: found.extend(_forecasts(runs, task, kind, base, machine)))
    return tuple(found)


def _forecasts(
    runs: Sequence[RunSpec], task: Task, kind: ModelKind, base: BaseFacts, machine: Machine
) -> Iterator[Forecast]:
    """From the shapes of the base that was found and the longest samples of the data."""
    model, largest = runs[0].model, task.largest_training()
    if base.folder is not None:  # what was found is there; nothing is to be fetched again
        model = model.model_copy(update={"source": str(base.folder), "revision": None})
    profile = None if largest is None else kind.profile(model, base.dtype)
    if largest is None or profile is None:
        return
    eval_batch_size, eval_length = task.largest_scoring() or (None, None)
    workload = Workload(
        batch_size=largest[0],
        length=largest[1],
        train=runs[0].train,
        target="cpu" if machine.device == "cpu" else "accelerator",
        eval_batch_size=eval_batch_size,
        eval_length=eval_length,
    )
    asked = [FootprintQuery(method=run.method, profile=profile, workload=workload) for run in runs]
    yield from forecasts(asked, limit=machine.memory_bytes)


def _machine(device: torch.device) -> Machine:
    from joblib import cpu_count  # importing it sets an environment variable

    return Machine(
        device=device.type,
        num_devices=0 if device.type == "cpu" else torch.accelerator.device_count(),
        num_cores=cpu_count(),
        num_threads=torch.get_num_threads(),
        memory_bytes=memory_bytes(device),
    )
