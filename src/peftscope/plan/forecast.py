"""Footprints of many techniques at once, set against a limit: what fits, and what would make the others fit."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import torch

from peftscope.capture import capture
from peftscope.plan.footprint import Counter, Footprint, Technique, Workload, footprint
from peftscope.plan.subject import Subject

__all__ = ["Forecast", "forecasts"]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A footprint against a limit."""

    footprint: Footprint
    fits: bool | None = None
    """None without a limit, or where the footprint is not known."""
    largest_batch: int | None = None
    """Where it does not fit: the largest batch that does, at the same length; 0 where none does."""
    checkpointed_bytes: int | None = None
    """Where it does not fit: peak of training with activation checkpointing; None where that was on or is not there."""


def forecasts(
    techniques: Sequence[Technique],
    subject: Subject,
    workload: Workload,
    *,
    limit: int | None = None,
    workers: int = 1,
) -> Iterator[Forecast]:
    """Forecasts in the order of the techniques, each as soon as it and those before it are known.

    Args:
        techniques: What is asked about.
        subject: The base.
        workload: The circumstances.
        limit: Bytes there are.
        workers: Processes; counting is Python's work and takes one core each.
    """
    if workers == 1 or len(techniques) == 1 or "fork" not in multiprocessing.get_all_start_methods():
        yield from (_forecast(technique, subject, workload, limit) for technique in techniques)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        asked = [pool.submit(_forecast, technique, subject, workload, limit) for technique in techniques]
        try:
            yield from (answer.result() for answer in asked)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _forecast(technique: Technique, subject: Subject, workload: Workload, limit: int | None) -> Forecast:
    found = footprint(technique, subject, workload)
    peak = found.peak_bytes
    if limit is None or peak is None or found.reason is not None:
        return Forecast(footprint=found)
    if peak <= limit:
        return Forecast(footprint=found, fits=True)
    return Forecast(
        footprint=found,
        fits=False,
        largest_batch=_largest_batch(technique, subject, workload, limit, found.peak_train_bytes),
        checkpointed_bytes=_checkpointed(technique, subject, workload),
    )


def _largest_batch(
    technique: Technique, subject: Subject, workload: Workload, limit: int, whole: int | None
) -> int | None:
    """By the line through one sample and the ``whole`` batch, and then counted: memory rises nearly evenly."""
    if whole is None:
        return None
    counts: list[int] = []

    def search() -> None:
        counter = Counter(technique.method, subject, workload, warn=lambda line: None)

        def peak(batch_size: int) -> int:
            return counter.training_peak(batch_size, workload.length)[0].reserved_bytes

        one = peak(1)
        if one > limit or workload.batch_size == 1:
            counts.append(0)
            return
        slope = max((whole - one) / (workload.batch_size - 1), 1.0)
        guess = min(max(1, 1 + int((limit - one) / slope)), workload.batch_size - 1)
        while guess > 1 and peak(guess) > limit:
            guess -= 1
        counts.append(guess)

    return None if capture(search) is not None else counts[0]


def _checkpointed(technique: Technique, subject: Subject, workload: Workload) -> int | None:
    if workload.train.checkpointing:
        return None
    train = workload.train.model_copy(update={"checkpointing": True})
    return footprint(technique, subject, replace(workload, train=train, scoring=False)).peak_train_bytes
