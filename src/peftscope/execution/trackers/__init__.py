"""Reporting a study to an experiment tracker, where the user asks for it and has installed its extra."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from peftscope.errors import MissingExtra, SpecError, unknown_name
from peftscope.execution.events import Listener
from peftscope.execution.trackers.tracker import Tracker, warn_user

__all__ = ["TRACKERS", "tracker_for"]

TRACKERS: dict[str, str] = {
    "mlflow": "peftscope.execution.trackers.to_mlflow:ToMlflow",
    "trackio": "peftscope.execution.trackers.to_trackio:ToTrackio",
    "wandb": "peftscope.execution.trackers.to_wandb:ToWandb",
}
"""Name, which is also the package's and the extra's -> class; nothing is imported before it is asked for."""


def tracker_for(
    name: str, *, project: str, folder: Path | None = None, warn: Callable[[str], None] = warn_user
) -> Listener:
    """A listener that reports a study to a tracker; where to is decided by the tracker's own environment variables.

    Args:
        name: One of ``TRACKERS``.
        project: What the tracker shall call the study.
        folder: Of the study, with the artefacts of its runs; None logs none.
        warn: Told once when the tracker fails and is switched off; called from the thread the listener is called from.

    Raises:
        SpecError: There is no such tracker, or it asks for a login.
        MissingExtra: Its package is not installed.

    >>> tracker_for("mlfow", project="demo")
    Traceback (most recent call last):
    peftscope.errors.SpecError: --track: 1 problem
      - unknown tracker 'mlfow'; did you mean 'mlflow'? Allowed: mlflow, trackio, wandb
    """
    if name not in TRACKERS:
        raise SpecError("--track", [unknown_name("tracker", name, TRACKERS)])
    module, kind = TRACKERS[name].split(":")
    tracker: type[Tracker] = getattr(import_module(module), kind)
    for variable, value in tracker.environment.items():
        os.environ.setdefault(variable, value)
    _require(name)
    return tracker(project, folder=folder, warn=warn)


def _require(package: str) -> None:
    try:
        found = import_module(package)
    except ModuleNotFoundError as error:  # its own dependencies come with the extra as well
        raise MissingExtra(error.name or package, package, f"--track {package}") from error
    if found.__file__ is None:  # a folder of that name: trackers make one where they are started
        raise MissingExtra(package, package, f"--track {package}")
