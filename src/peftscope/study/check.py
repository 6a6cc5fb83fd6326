"""What is known of a study before anything is trained, as an answer that shows itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.footprint.footprint import Forecast
from peftscope.schema.metric import MetricSpec
from peftscope.schema.study import StudySpec
from peftscope.study.running import RunOptions, prepared
from peftscope.views.footprints import footprint_table
from peftscope.views.progress.reporter import Reporter
from peftscope.views.shown import Shown

__all__ = ["StudyCheck", "check"]


@dataclass(frozen=True, kw_only=True, repr=False)
class StudyCheck(Shown):
    """Model and data are as they should be; what each method is predicted to take."""

    name: str
    folder: Path
    metric: MetricSpec
    """The task's score."""
    num_workers: int
    """Runs at once."""
    num_threads: int
    """Threads of each."""
    device: str
    """Kind of device the runs go to."""
    memory_bytes: int | None
    """Of one device; None where it does not tell."""
    forecasts: tuple[Forecast, ...]
    """One per method."""
    notices: tuple[str, ...]
    """What tuning and seeds cost, what will not be tried, what an edited study invalidates."""

    schema: ClassVar[str] = "check"

    def _content(self) -> Mapping[str, Any]:
        return {
            "study": self.name,
            "folder": str(self.folder),
            "metric": self.metric.model_dump(mode="json"),
            "num_workers": self.num_workers,
            "num_threads": self.num_threads,
            "device": self.device,
            "memory_bytes": self.memory_bytes,
            "methods": [
                {
                    "name": forecast.footprint.method,
                    "trainable_params": forecast.footprint.num_trainable_params,
                    "checkpoint_bytes": forecast.footprint.checkpoint_bytes,
                    "peak_train_bytes": forecast.footprint.peak_train_bytes,
                    "peak_eval_bytes": forecast.footprint.peak_eval_bytes,
                    "fits": forecast.fits,
                    "reason": forecast.footprint.reason,
                }
                for forecast in self.forecasts
            ],
            "notices": list(self.notices),
        }

    def _parts(self) -> Iterator[RenderableType]:
        at_once = (
            f"{self.num_workers} run{'s' if self.num_workers > 1 else ''} at once, {self.num_threads} threads each"
        )
        yield Text(f"{self.name}: {self.metric.name}, {self.metric.window}; {at_once}", style="bold")
        if self.forecasts:
            yield footprint_table(self.forecasts, device=self.device, limit=self.memory_bytes, brief=True)
        for line in self.notices:
            yield Text(line, style="yellow")


def check(spec: StudySpec, folder: Path, options: RunOptions, base: Path) -> StudyCheck:
    """Validate the shared model and data, cache the prepared data, predict memory.

    Raises:
        PeftscopeError: The data, the model or the folder is not as it should be.
    """
    with prepared(spec, folder, options=options, reporter=Reporter(quiet=True), base=base) as found:
        return StudyCheck(
            name=spec.name,
            folder=folder,
            metric=found.checked.metric,
            num_workers=found.executor.resources.num_workers,
            num_threads=found.executor.resources.num_threads,
            device=found.checked.machine.device,
            memory_bytes=found.checked.machine.memory_bytes,
            forecasts=found.checked.forecasts,
            notices=found.notices,
        )
