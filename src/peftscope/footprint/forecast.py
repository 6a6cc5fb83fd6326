"""Footprints of many methods at once, set against a limit: what fits, and what would make the others fit."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing.context import BaseContext

import torch

from peftscope.capture import capture
from peftscope.footprint.estimate import FootprintEstimator, footprint
from peftscope.footprint.footprint import Forecast
from peftscope.footprint.query import FootprintQuery

__all__ = ["forecasts"]


def forecasts(
    queries: Sequence[FootprintQuery],
    *,
    limit: int | None = None,
    workers: int = 1,
    context: BaseContext | None = None,
) -> Iterator[Forecast]:
    """Forecasts in the order of the questions, each as soon as it and those before it are known.

    Args:
        queries: What is asked about.
        limit: Bytes there are.
        workers: Processes; counting is Python's work and takes one core each.
        context: How they are started. Never a fork of this process, which may have begun to use CUDA; None counts
            in this process.
    """
    if workers == 1 or len(queries) == 1 or context is None:
        yield from (_forecast(query, limit) for query in queries)
        return
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin) as pool:
        asked = [pool.submit(_forecast, query, limit) for query in queries]
        try:
            yield from (answer.result() for answer in asked)
        finally:
            if not all(answer.done() for answer in asked):  # nobody waits for what is under way
                for child in set(multiprocessing.active_children()) - others:
                    child.kill()


def _begin() -> None:
    """In a process that counts: no accelerator, one thread, and the end is the parent's business."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _forecast(query: FootprintQuery, limit: int | None) -> Forecast:
    found = footprint(query)
    peak = found.peak_bytes
    if limit is None or peak is None or found.reason is not None:
        return Forecast(footprint=found)
    if peak <= limit:
        return Forecast(footprint=found, fits=True)
    batch, length = _what_would_fit(query, limit, peak)
    packed, recomputing = _packed(query), _recomputing(query)
    checkpointed, nf4 = _peak(recomputing), _peak(packed)
    helps = [peak is not None and peak <= limit for peak in (checkpointed, nf4)]
    smallest = None if any(helps) else _recomputing(packed or query) or packed
    both = _peak(smallest)
    both_batch = None
    if smallest is not None and both is not None and both > limit:
        both_batch, _ = _what_would_fit(smallest, limit, both)
    return Forecast(
        footprint=found,
        fits=False,
        largest_batch=batch,
        largest_length=length,
        checkpointed_bytes=checkpointed,
        nf4_bytes=nf4,
        both_bytes=both,
        both_batch=both_batch,
    )


def _what_would_fit(query: FootprintQuery, limit: int, peak: int) -> tuple[int | None, int | None]:
    """Largest batch at the same length, and largest length with the same batch."""
    load, unit = query.workload, query.profile.length_step
    found: list[int] = []

    def search() -> None:
        estimate = FootprintEstimator(query, warn=lambda line: None)
        found.append(_largest(lambda batch: estimate.peak_bytes(batch, load.length), load.batch_size, peak, limit))
        lengths = _largest(
            lambda n: estimate.peak_bytes(load.batch_size, n * unit), -(-load.length // unit), peak, limit
        )
        found.append(lengths * unit)

    if capture(search) is not None:
        return None, None
    return found[0], found[1]


def _largest(peak: Callable[[int], int], high: int, high_peak: int, limit: int) -> int:
    """Largest number below ``high``, which is too large, whose peak is within the limit; 0 where none is.

    Sought where the line between two known peaks meets the limit, and halfway where that has not helped.
    """
    low, low_peak, tries = 1, peak(1) if high > 1 else limit + 1, 0
    if low_peak > limit:
        return 0
    while high - low > 1:
        meets = low + int((limit - low_peak) / max(1, high_peak - low_peak) * (high - low))
        guess = min(max(meets if tries % 3 < 2 else (low + high) // 2, low + 1), high - 1)
        found, tries = peak(guess), tries + 1
        if found <= limit:
            low, low_peak = guess, found
        else:
            high, high_peak = guess, found
    return low


def _recomputing(query: FootprintQuery) -> FootprintQuery | None:
    """The same with activation checkpointing; None where it is on."""
    load = query.workload
    if load.train.checkpointing:
        return None
    return replace(query, workload=replace(load, train=load.train.model_copy(update={"checkpointing": True})))


def _packed(query: FootprintQuery) -> FootprintQuery | None:
    """The same on a base packed as nf4, where the accelerator has such a base and the method trains on it."""
    profile = query.profile.quantized("nf4") if query.workload.target == "accelerator" else None
    return None if profile is None else replace(query, profile=profile)


def _peak(query: FootprintQuery | None) -> int | None:
    found = None if query is None else footprint(query)
    return None if found is None or found.reason is not None else found.peak_bytes
