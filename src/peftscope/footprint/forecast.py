"""Footprints of many methods at once, set against a limit: what fits, and what would make the others fit."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing.context import BaseContext
from typing import Literal, get_args

import torch

from peftscope.capture import capture
from peftscope.footprint.estimate import FootprintEstimator, estimated
from peftscope.footprint.footprint import Footprint, Forecast
from peftscope.footprint.query import FootprintQuery
from peftscope.schema.study import MemorySetting

__all__ = ["Alternatives", "forecasts", "forecasts_as_counted"]

Alternatives = Literal["needed", "all"]
"""Of which methods the peaks with checkpointing, on a packed base and with both are counted: of those that do not fit,
and of these no more than what may help; or of all, so that they can be held against any limit later."""

SETTINGS: tuple[MemorySetting, ...] = get_args(MemorySetting)
"""From the fastest to the one that takes least."""

_Counted = tuple[FootprintEstimator, Footprint]
"""What counted a method, and what it found."""


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
    counted: dict[int, Forecast] = {}
    turn = 0
    for number, found in forecasts_as_counted(queries, limit=limit, workers=workers, context=context):
        counted[number] = found
        while turn in counted:
            yield counted.pop(turn)
            turn += 1


def forecasts_as_counted(
    queries: Sequence[FootprintQuery],
    *,
    limit: int | None = None,
    workers: int = 1,
    context: BaseContext | None = None,
    alternatives: Alternatives = "needed",
) -> Iterator[tuple[int, Forecast]]:
    """Forecasts as soon as they are known, each with the number of its question.

    Args:
        queries: What is asked about.
        limit: Bytes there are.
        workers: As ``forecasts`` takes them.
        context: As ``forecasts`` takes it.
        alternatives: Of which methods they are counted; all of them take about three times as long.
    """
    if workers == 1 or len(queries) == 1 or context is None:
        yield from ((number, _forecast(query, limit, alternatives)) for number, query in enumerate(queries))
        return
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin) as pool:
        asked = {pool.submit(_forecast, query, limit, alternatives): number for number, query in enumerate(queries)}
        try:
            yield from ((asked[answer], answer.result()) for answer in as_completed(asked))
        finally:
            if not all(answer.done() for answer in asked):  # nobody waits for what is under way
                for child in set(multiprocessing.active_children()) - others:
                    child.kill()


def _begin() -> None:
    """In a process that counts: no accelerator, one thread, and the end is the parent's business."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _forecast(query: FootprintQuery, limit: int | None, alternatives: Alternatives = "needed") -> Forecast:
    found, estimate = estimated(query)
    peak = found.peak_bytes
    if peak is None or estimate is None or (limit is None and alternatives == "needed"):
        return Forecast(footprint=found)
    fits = None if limit is None else peak <= limit
    both: _Counted | None = None
    others: dict[str, int | None] = {}
    settings: dict[str, int] = {}
    fits_with: str | None = None
    if alternatives == "all":
        others = _all_peaks(query, found, estimate)
    elif limit is not None and not fits:
        settings = _setting_peaks(query, found, estimate, limit)
        fits_with = _fastest(settings, limit)
        others, both = _helpful_peaks(query, found, estimate, limit, is_enough=fits_with is not None)
    if limit is None or fits:
        return Forecast(footprint=found, fits=fits, fits_with=None, memory_bytes={}, **others)
    both_batch = None
    if fits_with is None and not any(_fits(other, limit) for other in others.values()):
        both = both or _with_both(query, estimate)
        both_batch = None if both is None else _what_would_fit(*both, limit, of="batch")
    return Forecast(
        footprint=found,
        fits=False,
        largest_batch=_what_would_fit(estimate, found, limit, of="batch"),
        largest_length=_what_would_fit(estimate, found, limit, of="length"),
        both_batch=both_batch,
        fits_with=fits_with,
        memory_bytes=settings,
        **others,
    )


def _all_peaks(query: FootprintQuery, found: Footprint, known: FootprintEstimator) -> dict[str, int | None]:
    """Peaks with checkpointing, on a packed base, and with both where there are both."""
    peaks = {"checkpointed_bytes": _peak(_recomputing(query), known, found), "nf4_bytes": None, "both_bytes": None}
    packed = _packed(query)
    if packed is not None:
        nf4, estimate = estimated(packed, known)
        if estimate is not None:
            peaks |= {"nf4_bytes": nf4.peak_bytes, "both_bytes": _peak(_recomputing(packed), known, nf4)}
    return peaks


def _setting_peaks(query: FootprintQuery, found: Footprint, known: FootprintEstimator, limit: int) -> dict[str, int]:
    """Peaks with slower memory settings, as far as they are needed to find the fastest that fits."""
    kept = 0 if found.breakdown is None else found.breakdown.weights + found.breakdown.adapter
    if kept > limit or not _fits(found.peak_eval_bytes or 0, limit):  # scoring takes what it takes with each
        return {}
    peaks: dict[str, int] = {}
    for setting in ("fast", "minimal", "lean"):  # where the least does not fit, the one between does not, either
        asked = _with_setting(query, setting)
        if asked is None:
            continue
        peak = _peak(asked, known, found)
        if peak is not None:
            peaks[setting] = peak
        is_enough = _fits(peak, limit)
        if (setting == "fast" and is_enough) or (setting == "minimal" and not is_enough):
            break
    return peaks


def _fastest(settings: dict[str, int], limit: int) -> str | None:
    """The first of the memory settings that fits."""
    return next((name for name in SETTINGS if _fits(settings.get(name), limit)), None)


def _with_setting(query: FootprintQuery, setting: MemorySetting) -> FootprintQuery | None:
    """The same with a memory setting; None where the one it has, or checkpointing, takes as little or less."""
    load, profile = query.workload, query.profile
    least = "fast" if load.train.memory == "plain" and profile.output_width is None else load.train.memory
    least = "lean" if load.train.checkpointing and load.train.memory != "minimal" else least
    if SETTINGS.index(setting) <= SETTINGS.index(least):
        return None
    return replace(query, workload=replace(load, train=load.train.model_copy(update={"memory": setting})))


def _helpful_peaks(
    query: FootprintQuery, found: Footprint, known: FootprintEstimator, limit: int, *, is_enough: bool
) -> tuple[dict[str, int | None], _Counted | None]:
    """The same as far as nothing before it is enough and it may be; in place of both, the one there is."""
    peaks = {"checkpointed_bytes": _peak(_recomputing(query), known, found)}
    if is_enough or _fits(peaks["checkpointed_bytes"], limit):  # packing costs quality, recomputing does not
        return peaks, None
    could_help = found.breakdown is None or (found.peak_bytes or 0) - found.breakdown.weights <= limit
    peaks["nf4_bytes"] = _peak(_packed(query), known) if could_help else None
    if _fits(peaks["nf4_bytes"], limit):
        return peaks, None
    both = _with_both(query, known)
    peaks["both_bytes"] = None if both is None else both[1].peak_bytes
    return peaks, both


def _with_both(query: FootprintQuery, known: FootprintEstimator) -> _Counted | None:
    """The method with checkpointing on a packed base, or with the one of these there is."""
    packed = _packed(query)
    smallest = _recomputing(packed or query) or packed
    if smallest is None:
        return None
    found, estimate = estimated(smallest, known)
    return None if estimate is None or found.peak_bytes is None else (estimate, found)


def _fits(peak: int | None, limit: int) -> bool:
    return peak is not None and peak <= limit


def _what_would_fit(
    estimate: FootprintEstimator, found: Footprint, limit: int, *, of: Literal["batch", "length"]
) -> int | None:
    """A batch at the same length, or a length with the same batch; of what is too large."""
    load = estimate.workload
    unit = 1 if of == "batch" else estimate.length_step
    high = load.batch_size if of == "batch" else -(-load.length // unit)
    kept = 0 if found.breakdown is None else found.breakdown.kept()
    scoring = not _fits(found.peak_eval_bytes, limit)  # where it fits, a smaller one does, too
    fits: list[int] = []

    def peak(number: int) -> int:
        at = (number, load.length) if of == "batch" else (load.batch_size, number * unit)
        return estimate.peak_bytes(*at, scoring=scoring)

    def search() -> None:
        fits.append(unit * _largest(peak, high, found.peak_bytes or 0, kept, limit))

    return fits[0] if capture(search) is None else None


def _largest(peak: Callable[[int], int], high: int, high_peak: int, kept: int, limit: int) -> int:
    """A number below ``high``, which is too large, whose peak is within the limit, or 0; seldom far from the largest.

    Sought where the line from what is kept to a known peak meets the limit: about by that line memory grows.

    Args:
        peak: Bytes with a number.
        high: A number that is too large.
        high_peak: Its bytes.
        kept: Bytes that are there with any.
        limit: Bytes there are.
    """
    while kept < limit and high > 1:
        meets = int((limit - kept) / max(1, high_peak - kept) * high)
        guess = min(max(meets, 1), high - 1)
        found = peak(guess)
        if found <= limit:
            return guess
        high, high_peak = guess, found
    return 0


def _recomputing(query: FootprintQuery) -> FootprintQuery | None:
    """The same with activation checkpointing; None where everything is recomputed."""
    load = query.workload
    if load.train.recomputation == "all":
        return None
    changed = {"checkpointing": True, "memory": "minimal" if load.train.memory == "lean" else load.train.memory}
    return replace(query, workload=replace(load, train=load.train.model_copy(update=changed)))


def _packed(query: FootprintQuery) -> FootprintQuery | None:
    """The same on a base packed as nf4, where the accelerator has such a base and the method trains on it."""
    profile = query.profile.quantized("nf4") if query.workload.target == "accelerator" else None
    return None if profile is None else replace(query, profile=profile)


def _peak(query: FootprintQuery | None, known: FootprintEstimator, found: Footprint | None = None) -> int | None:
    """The peak on a base that is otherwise packed or trained; scoring as it was found where that makes no difference.

    Args:
        query: What is asked about.
        known: What counted the method before.
        found: What it found, where scoring is the same.
    """
    if query is None:
        return None
    peaks: list[int] = []

    def count() -> None:
        estimate, load = FootprintEstimator(query, lambda line: None, known), query.workload
        peaks.append(estimate.peak_bytes(load.batch_size, load.length, scoring=found is None))

    if capture(count) is not None:
        return None
    return max(peaks[0], (found and found.peak_eval_bytes) or 0)
