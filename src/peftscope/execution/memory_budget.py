"""Memory shared out over runs: what does not fit at all, and what fits beside what already goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from peftscope.execution.executors.resources import Resources
from peftscope.footprint.footprint import Forecast
from peftscope.schema.run import RunSpec
from peftscope.tuning.check_result import CheckResult

__all__ = ["MemoryBudget", "memory_budget_for"]


@dataclass(frozen=True, kw_only=True)
class MemoryBudget:
    """What there is on each device, and what each method takes of it."""

    memory_bytes: int | None = None
    """Of a device; None where it does not tell, and then everything fits."""
    resources: Resources = field(default=Resources(num_workers=1, num_threads=1))
    """Which worker's runs go to which device."""
    needs: Mapping[str, int] = field(default_factory=dict)
    """Predicted bytes by a method's title; what is not in it is unknown and taken for nothing."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """By a method's title, why it is not tried."""
    warnings: tuple[str, ...] = ()
    """What the user is to be told before anything starts."""

    def refusal(self, run: RunSpec) -> str | None:
        """Why a run is not to be tried; None where it is."""
        return self.reasons.get(run.method.title)

    def fits(self, run: RunSpec, worker: int, running: Mapping[int, RunSpec]) -> bool:
        """Whether a run fits on a worker's device beside the runs that go on there; alone it always does.

        Args:
            run: To be started.
            worker: Its place among the workers, from 0.
            running: Runs that go on, by their workers.
        """
        device_of = self.resources.device_of
        here = [other for at, other in running.items() if device_of(at) == device_of(worker)]
        if not here or self.memory_bytes is None or self.refusal(run) is not None:
            return True
        return sum(self.needs.get(each.method.title, 0) for each in (*here, run)) <= self.memory_bytes


def memory_budget_for(checked: CheckResult, resources: Resources, *, try_all: bool) -> MemoryBudget:
    """The memory budget of a study, by what was predicted for its methods.

    Args:
        checked: What the study's check found.
        resources: Which devices its runs go to.
        try_all: Refuse nothing.
    """
    memory = checked.machine.memory_bytes
    known = {f.footprint.method: f.footprint.peak_bytes for f in checked.forecasts}
    too_large = {f.footprint.method: _reason(f, memory) for f in checked.forecasts if f.fits is False}
    what_then = "tried all the same" if try_all else "not tried; --try-all tries it"
    return MemoryBudget(
        memory_bytes=memory,
        resources=resources,
        needs={title: need for title, need in known.items() if need is not None},
        reasons={} if try_all else too_large,
        warnings=tuple(f"{title}: {reason} ({what_then})" for title, reason in too_large.items()),
    )


def _reason(forecast: Forecast, memory: int | None) -> str:
    found = forecast.footprint
    assert found.peak_bytes is not None
    assert memory is not None
    if found.peak_bytes == found.peak_train_bytes:
        where = "training"
        ways = [f"train.batch_size: {forecast.largest_batch}"] if forecast.largest_batch else []
        if forecast.fits_with is not None:
            ways.append(f"train.memory: {forecast.fits_with}")
        elif forecast.checkpointed_bytes is not None and forecast.checkpointed_bytes <= memory:
            ways.append("train.checkpointing: true")
    elif found.peak_bytes == found.peak_retention_bytes:
        where, ways = "measuring what is kept of the base", ["the task's general_tokens: 0, which leaves it out,"]
    else:
        where, ways = "scoring", ["a smaller eval_batch_size of the task"]
    help_with = f"; {' or '.join(ways)} would fit" if ways else ""
    return f"{where} is predicted to take {found.peak_bytes / 1e9:.3g} GB of {memory / 1e9:.3g} GB{help_with}"
