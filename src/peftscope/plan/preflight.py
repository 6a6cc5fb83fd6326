"""What can be known to be wrong before anything is trained, and what is prepared once for all runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from peftscope.capture import capture
from peftscope.models.device import choose_device, choose_dtype, memory_bytes
from peftscope.models.empty import read_config
from peftscope.models.load import load_tokenizer
from peftscope.models.source import locate
from peftscope.plan.checked import Checked, Machine
from peftscope.plan.conditions import quality_conditions
from peftscope.plan.footprint import Forecast
from peftscope.plan.forecast import forecasts
from peftscope.plan.question import Question, Workload
from peftscope.plan.subject import TextSubject
from peftscope.spec.run import RunSpec
from peftscope.tasks import registry
from peftscope.tasks.base import Task, TaskContext

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
        width=_width(located.folder),
        forecasts=_foreseen(runs, task, located.folder, machine),
    )


def _width(folder: Path) -> int | None:
    """Hidden size of the base; None where the config does not tell, which costs a search its best start alone."""
    found: list[int] = []
    capture(lambda: found.append(int(read_config(str(folder)).get_text_config().hidden_size)))
    return found[0] if found else None


def _foreseen(runs: Sequence[RunSpec], task: Task, folder: Path, machine: Machine) -> tuple[Forecast, ...]:
    """What each method would take; nothing where that cannot be told, which is no reason not to try."""
    found: list[Forecast] = []
    capture(lambda: found.extend(_forecasts(runs, task, folder, machine)))
    return tuple(found)


def _forecasts(runs: Sequence[RunSpec], task: Task, folder: Path, machine: Machine) -> Iterator[Forecast]:
    """From the config of the model that was found and the longest samples of the data."""
    spec, device = runs[0].model, torch.device(machine.device)
    ids = task.longest_batch().get("input_ids")
    if isinstance(spec.quantization, dict) or ids is None:
        return
    subject = TextSubject(
        config=read_config(str(folder)),
        dtype=choose_dtype(spec.dtype, device),
        attn_implementation=spec.attn_implementation,
        quantization=spec.quantization,
    )
    batch_size, length = ids.shape
    eval_batch_size, eval_length = task.largest_scoring() or (None, None)
    workload = Workload(
        batch_size=batch_size,
        length=length,
        train=runs[0].train,
        target="cpu" if device.type == "cpu" else "accelerator",
        eval_batch_size=eval_batch_size,
        eval_length=eval_length,
    )
    asked = [Question(method=run.method, subject=subject, workload=workload) for run in runs]
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
