"""What can be known to be wrong before anything is trained, and what is prepared once for all runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from peftscope.models.device import choose_device, choose_dtype, memory_bytes
from peftscope.models.empty import read_config
from peftscope.models.load import load_tokenizer
from peftscope.models.source import locate
from peftscope.plan.checked import Checked, Machine
from peftscope.plan.conditions import quality_conditions
from peftscope.plan.footprint import Forecast
from peftscope.plan.forecast import forecasts
from peftscope.plan.question import question_of
from peftscope.plan.subject import TextSubject
from peftscope.spec.run import RunSpec
from peftscope.tasks import registry
from peftscope.tasks.base import TaskContext
from peftscope.train.meta_kernels import Target

__all__ = ["check"]


def check(runs: Sequence[RunSpec], cache: Path) -> Checked:
    """Read and check model and data of a study by its runs (all of them share both), keep the data, foresee memory.

    Args:
        runs: One of the study's runs for every method.
        cache: The study's cache folder; the prepared data are kept there by content hash.

    Raises:
        ModelError: The base model is not there, its tokenizer cannot be loaded, or the device is not there.
        DataError: A file, column or split is missing or empty, or a prompt is over the limit.
        SpecError: The task's options are wrong.
        StoreError: The cache cannot be written to.
    """
    run = runs[0]
    device = choose_device(run.model.device)
    task = registry.create(run.task, TaskContext.of(run.train, load_tokenizer(run.model)))
    retention = task.retention(run.measure)
    located = locate(run.model)
    quality = quality_conditions(
        run,
        data=task.fingerprint(),
        retention=retention.fingerprint() if retention is not None else None,
        weights_sha256=located.weights_sha256,
        settings_sha256=located.settings_sha256,
        dtype=choose_dtype(run.model.dtype, device),
    )
    kept = registry.keep(task, cache, measure=run.measure)
    if run.vary_split:
        task.recut(run.seed)  # whether it can
    machine = _machine(device)
    return Checked(
        metric=task.metric,
        quality=quality,
        kept=kept,
        machine=machine,
        forecasts=tuple(_foreseen(runs, located.folder, device, machine.memory_bytes)),
    )


def _foreseen(runs: Sequence[RunSpec], folder: Path, device: torch.device, limit: int | None) -> Iterator[Forecast]:
    """What each method would take, from the config of the model that was found."""
    spec = runs[0].model
    if isinstance(spec.quantization, dict):
        return
    subject = TextSubject(
        config=read_config(str(folder)),
        dtype=choose_dtype(spec.dtype, device),
        attn_implementation=spec.attn_implementation,
        quantization=spec.quantization,
    )
    target: Target = "cpu" if device.type == "cpu" else "accelerator"
    yield from forecasts([question_of(run, subject, target) for run in runs], limit=limit)


def _machine(device: torch.device) -> Machine:
    from joblib import cpu_count  # importing it sets an environment variable

    return Machine(
        device=device.type,
        num_devices=0 if device.type == "cpu" else torch.accelerator.device_count(),
        num_cores=cpu_count(),
        num_threads=torch.get_num_threads(),
        memory_bytes=memory_bytes(device),
    )
