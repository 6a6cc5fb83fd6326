"""What can be known to be wrong before anything is trained, and what is prepared once for all runs."""

from __future__ import annotations

from pathlib import Path

import torch

from peftscope.models.device import choose_device, choose_dtype
from peftscope.models.load import load_tokenizer
from peftscope.models.source import locate
from peftscope.plan.checked import Checked, Machine
from peftscope.plan.conditions import quality_conditions
from peftscope.spec.run import RunSpec
from peftscope.tasks import registry
from peftscope.tasks.base import TaskContext

__all__ = ["check"]


def check(run: RunSpec, cache: Path) -> Checked:
    """Read and check model and data of a study by one of its runs (all of them share both), and keep the data.

    Args:
        run: Any of the study's runs.
        cache: The study's cache folder; the prepared data are kept there by content hash.

    Raises:
        ModelError: The base model is not there, its tokenizer cannot be loaded, or the device is not there.
        DataError: A file, column or split is missing or empty, or a prompt is over the limit.
        SpecError: The task's options are wrong.
        StoreError: The cache cannot be written to.
    """
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
    return Checked(
        metric=task.metric,
        quality=quality,
        kept=kept,
        machine=_machine(device),
    )


def _machine(device: torch.device) -> Machine:
    from joblib import cpu_count  # importing it sets an environment variable

    return Machine(
        device=device.type,
        num_devices=0 if device.type == "cpu" else torch.accelerator.device_count(),
        num_cores=cpu_count(),
        num_threads=torch.get_num_threads(),
    )
