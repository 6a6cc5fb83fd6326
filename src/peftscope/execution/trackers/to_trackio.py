"""Runs in trackio: in its local folder, or where ``TRACKIO_DIR``, ``_SPACE_ID`` or ``_SERVER_URL`` say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context
from importlib import import_module
from pathlib import Path
from typing import Any

from peftscope.execution.trackers.tracker import TrackedEnd, TrackedStart, Tracker, flat, warn_user

__all__ = ["ToTrackio"]


def _say_nothing(*_: Any, **__: Any) -> None:
    """Instead of ``print``."""


class ToTrackio(Tracker):
    """One project per study. trackio has neither tags nor a status: both are told as it can hold them."""

    name = "trackio"

    def __init__(self, project: str, *, folder: Path | None = None, warn: Callable[[str], None] = warn_user) -> None:
        # It prints to standard output, which belongs to what the command says; to redirect that is no way out, since
        # it would take the words of all threads.
        for module in ("trackio", "trackio.run", "trackio.utils"):
            vars(import_module(module))["print"] = _say_nothing
        super().__init__(project, folder=folder, warn=warn)

    def begin(self, start: TrackedStart) -> Any:
        import trackio

        # It would finish the run its context holds: one context each. It watches neither CPU nor GPU: that would
        # cost time on the machine that is being measured.
        return Context().run(
            trackio.init,
            project=self.project,
            name=start.title,
            group=start.group,
            config={**flat(start.config), **start.tags},
            auto_log_cpu=False,
            auto_log_gpu=False,
            embed=False,
        )

    def log(self, handle: Any, step: int, values: Mapping[str, float]) -> None:
        handle.log(dict(values), step=step)

    def end(self, handle: Any, outcome: TrackedEnd) -> None:
        import trackio

        pictures = {name: trackio.Image(str(path)) for name, path in outcome.pictures.items()}
        content = {"status": outcome.status, **({"reason": outcome.reason} if outcome.reason else {})}
        handle.log({**outcome.metrics, **content, **pictures}, step=outcome.step)
        handle.finish()
