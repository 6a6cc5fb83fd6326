"""What a study's check found; no torch here, so that a process without it can take the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peftscope.footprint.footprint import Forecast
from peftscope.schema.metric import MetricSpec
from peftscope.schema.protocol import Protocol

__all__ = ["CheckResult", "Machine"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What runs can be shared out over."""

    device: str
    """Kind of device the runs go to: ``cpu``, ``cuda``, …"""
    num_devices: int
    """Accelerators of that kind; 0 for the CPU."""
    num_cores: int
    """Cores this process may use, limits of a container minded."""
    num_threads: int
    """Threads torch takes by default."""
    memory_bytes: int | None = None
    """Of one device: an accelerator's own, or what the system could still give; None where it does not tell."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What the runs of a study share, as it is on disk now."""

    metric: MetricSpec
    """The task's metric."""
    quality: dict[str, Any]
    """The conditions quality would be measured under now (``tuning.conditions``)."""
    cached: Path
    """Where the task's data lie prepared, for all runs."""
    machine: Machine
    width: int | None = None
    """Hidden size of the base; None where its config has none."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Examples in each split."""
    epoch_size: int = 0
    """What ``train.batch_size`` counts in an epoch."""
    notes: tuple[str, ...] = ()
    """What the task has to say of its data."""
    read_from: tuple[Path, ...] | None = None
    """Files and folders on this machine it was found from; None where that is not known."""
    forecasts: tuple[Forecast, ...] = ()
    """What each method would take there; empty where it was not asked for."""

    @property
    def quality_protocol(self) -> str:
        """Hash of the conditions; a record of other ones has to be made again."""
        return Protocol(quality=self.quality, cost={}).quality_hash
