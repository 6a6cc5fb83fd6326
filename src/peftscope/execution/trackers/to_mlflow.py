"""Runs in MLflow: at ``MLFLOW_TRACKING_URI``, or ``mlflow.db`` in the folder peftscope is started in."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from peftscope.execution.trackers.tracker import TrackedEnd, TrackedStart, Tracker, flat, warn_user

__all__ = ["ToMlflow"]

PARAMS_PER_CALL = 100
"""A server refuses more."""


class ToMlflow(Tracker):
    """One experiment per study; the client's calls name their run, so that several can be under way."""

    name = "mlflow"
    environment: ClassVar[Mapping[str, str]] = {"MLFLOW_DISABLE_TELEMETRY": "true"}

    def __init__(self, project: str, *, folder: Path | None = None, warn: Callable[[str], None] = warn_user) -> None:
        if "MLFLOW_LOGGING_LEVEL" not in os.environ:
            logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table it makes, over the display
        super().__init__(project, folder=folder, warn=warn)

    @cached_property
    def _client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient()

    @cached_property
    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.project)
        return str(self._client.create_experiment(self.project) if found is None else found.experiment_id)

    def begin(self, start: TrackedStart) -> str:
        from mlflow.entities import Param

        tags = {f"peftscope.{name}": value for name, value in {**start.tags, "group": start.group}.items()}
        run = self._client.create_run(self._experiment_id, run_name=start.title, tags=tags)
        run_id = str(run.info.run_id)
        params = [Param(name, str(value)) for name, value in flat(start.config).items()]
        for first in range(0, len(params), PARAMS_PER_CALL):
            self._client.log_batch(run_id, params=params[first : first + PARAMS_PER_CALL])
        return run_id

    def log(self, handle: str, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        self._client.log_batch(handle, metrics=[Metric(name, v, now_ms, step) for name, v in values.items()])

    def end(self, handle: str, outcome: TrackedEnd) -> None:
        if outcome.metrics:
            self.log(handle, outcome.step, outcome.metrics)
        for path in outcome.pictures.values():
            self._client.log_artifact(handle, str(path))
        self._client.set_tag(handle, "peftscope.status", outcome.status)
        if outcome.reason:
            self._client.set_tag(handle, "peftscope.reason", outcome.reason)
        word = "FINISHED" if outcome.status == "ok" else "KILLED" if outcome.is_stopped else "FAILED"
        self._client.set_terminated(handle, word)
