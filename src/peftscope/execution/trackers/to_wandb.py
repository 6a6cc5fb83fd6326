"""Runs in Weights & Biases; ``WANDB_MODE=offline`` keeps them in ``./wandb``, to be sent with ``wandb sync``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from peftscope.capture import capture
from peftscope.errors import SpecError
from peftscope.execution.trackers.tracker import TrackedEnd, TrackedStart, Tracker, warn_user

__all__ = ["ToWandb"]

MAX_TAG_CHARS = 64
MAX_PROJECT_CHARS = 128
FORBIDDEN_IN_PROJECT = str.maketrans(dict.fromkeys("/\\#?%:", "-"))
FAILED, STOPPED = 1, 255
"""Exit codes, wandb's only word for a status; 255 is its own for an interrupted program."""


class ToWandb(Tracker):
    """One project per study; every run has its own handle, so that several can be under way."""

    name = "wandb"
    environment: ClassVar[Mapping[str, str]] = {"WANDB_ERROR_REPORTING": "false"}

    def __init__(self, project: str, *, folder: Path | None = None, warn: Callable[[str], None] = warn_user) -> None:
        _log_in()
        super().__init__(project.translate(FORBIDDEN_IN_PROJECT)[:MAX_PROJECT_CHARS], folder=folder, warn=warn)

    def begin(self, start: TrackedStart) -> Any:
        import wandb

        return wandb.init(
            project=self.project,
            name=start.title,
            group=start.group,
            tags=[start.tags[name][:MAX_TAG_CHARS] for name in ("run_id", "method", "study")],
            config={**start.config, **start.tags},
            reinit="create_new",
            # The terminal is the command's, and watching the machine would cost time where time is measured.
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )

    def log(self, handle: Any, step: int, values: Mapping[str, float]) -> None:
        handle.log(dict(values), step=step)

    def end(self, handle: Any, outcome: TrackedEnd) -> None:
        if outcome.pictures:
            import wandb

            handle.log({name: wandb.Image(str(path)) for name, path in outcome.pictures.items()})
        handle.summary.update({**outcome.metrics, "status": outcome.status, "reason": outcome.reason})
        handle.finish(0 if outcome.status == "ok" else STOPPED if outcome.is_stopped else FAILED)

    def close(self) -> None:
        import wandb

        wandb.teardown()  # ends its service process


def _log_in() -> None:
    """Let wandb ask for its key now, since it would ask over the display; whether the server knows it shows later.

    Raises:
        SpecError: There is no key and nobody to ask.
    """
    import wandb

    def log_in() -> None:
        if wandb.setup().settings.mode in ("online", "shared"):
            wandb.login(verify=False)

    if failure := capture(log_in):
        way = "`wandb login`, WANDB_API_KEY, or WANDB_MODE=offline"
        raise SpecError("--track wandb", [f"{failure.reason} (one of: {way})"])
