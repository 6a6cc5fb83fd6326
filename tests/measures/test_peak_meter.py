"""Promises of the sampled memory figure."""

from __future__ import annotations

import time

import torch

from peftscope.measures.peak_meter import PeakMeter, anonymous_bytes

CPU = torch.device("cpu")
NUM_BYTES = 200_000_000


def _hold_for_a_moment() -> None:
    block = torch.ones(NUM_BYTES // 4)
    time.sleep(0.1)
    del block


def test_the_peak_includes_memory_allocated_and_freed_while_metering() -> None:
    before = anonymous_bytes()
    with PeakMeter(CPU, interval_s=0.01) as meter:
        _hold_for_a_moment()
    assert meter.sampled_bytes is not None
    assert meter.sampled_bytes - before > 0.9 * NUM_BYTES
    assert meter.allocated_bytes is None


def test_allocations_during_a_pause_do_not_count() -> None:
    before = anonymous_bytes()
    with PeakMeter(CPU, interval_s=0.01) as meter:
        meter.pause()
        _hold_for_a_moment()
        meter.resume()
    assert meter.sampled_bytes is not None
    assert meter.sampled_bytes - before < 0.5 * NUM_BYTES
