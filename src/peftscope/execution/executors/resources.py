"""Cores and devices shared out over workers, so that none slows another down."""

from __future__ import annotations

from dataclasses import dataclass

from peftscope.errors import SpecError
from peftscope.tuning.check_result import Machine

__all__ = ["Resources", "divide_resources"]

_VISIBLE = {"cuda": "CUDA_VISIBLE_DEVICES", "xpu": "ZE_AFFINITY_MASK"}
"""Environment variable by which a process is given some of the accelerators alone; others use one of theirs."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """How many runs go on at once, and what each may use."""

    num_workers: int
    num_threads: int
    """Threads of each worker."""
    variable: str | None = None
    """Environment variable that gives a worker its accelerator; None on the CPU."""
    num_devices: int = 0

    def device_of(self, worker: int) -> int:
        """The device a worker's runs go to, from 0; those on the CPU share one."""
        return worker % max(1, self.num_devices)

    def environment(self, worker: int, visible: str | None) -> dict[str, str]:
        """What a worker's environment is to hold.

        Args:
            worker: Place among the workers, from 0.
            visible: The variable's value where the user has set it: the devices to choose from.

        >>> two = Resources(num_workers=2, num_threads=1, variable="CUDA_VISIBLE_DEVICES", num_devices=2)
        >>> two.environment(1, "4,6")
        {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '6'}
        """
        own = {"OMP_NUM_THREADS": str(self.num_threads)}
        if self.variable is None or self.num_devices == 0:
            return own
        devices = visible.split(",") if visible else [str(index) for index in range(self.num_devices)]
        return {**own, self.variable: devices[self.device_of(worker) % len(devices)]}


def divide_resources(machine: Machine, *, workers: int | None = None, threads: int | None = None) -> Resources:
    """Share a machine out: one worker per accelerator, one on the CPU, and as many threads as leave no core twice.

    Args:
        machine: What there is.
        workers: Runs at once; None takes the default.
        threads: Threads of each worker; None takes the default.

    Raises:
        SpecError: threads × workers would be more than the cores.

    >>> divide_resources(Machine(device="cpu", num_devices=0, num_cores=8, num_threads=8), workers=4).num_threads
    2
    """
    variable = _VISIBLE.get(machine.device)
    num_devices = machine.num_devices if variable else min(1, machine.num_devices)
    num_workers = workers or max(1, min(num_devices, machine.num_cores))
    num_threads = threads or max(1, min(machine.num_threads, machine.num_cores // num_workers))
    if num_threads * num_workers > machine.num_cores:
        raise SpecError(
            "--workers, --threads",
            [
                f"{num_workers} workers × {num_threads} threads are more than the {machine.num_cores} cores here; "
                f"they would slow each other down several times. Give at most {machine.num_cores} in all"
            ],
        )
    return Resources(
        num_workers=num_workers,
        num_threads=num_threads,
        variable=variable,
        num_devices=num_devices,
    )
