"""What a run's figures hold under: the constituents of the two protocol hashes.

Neither holds method, learning rate or seed: these are what is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch

from peftscope.models.kinds.base import ModelKind
from peftscope.schema.identity import settings_that_decide
from peftscope.schema.run import RunSpec
from peftscope.tasks.base import Retention, Task

__all__ = ["cost_conditions", "quality_conditions"]

PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")
"""Libraries that decide time and memory."""


class Base(Protocol):
    """What of a base decides quality: it was looked at (``BaseFacts``) or loaded (``LoadedModel``)."""

    @property
    def weights_sha256(self) -> str:
        """Hash of its weight files."""

    @property
    def settings_sha256(self) -> str:
        """Hash of what its config decides beside them."""

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""


def quality_conditions(
    spec: RunSpec, kind: ModelKind, base: Base, task: Task, retention: Retention | None
) -> dict[str, Any]:
    """What decides quality.

    Args:
        spec: The run.
        kind: Of the base; says how outputs are chosen.
        base: The base model.
        task: Gives version, options (prompt, decoding limits), splits, token ids.
        retention: What forgetting and drift are measured on.
    """
    return {
        "measured_by": "peftscope",
        "weights": base.weights_sha256,
        "model_config": base.settings_sha256,
        "dtype": str(base.dtype).removeprefix("torch."),
        "task": task.fingerprint(),
        "settings": settings_that_decide(spec, "quality"),
        "prediction": kind.prediction,
        "retention": retention.fingerprint() if retention is not None else None,
    }


def cost_conditions(spec: RunSpec, environment: Mapping[str, Any]) -> dict[str, Any]:
    """What decides time and memory beside that.

    Args:
        spec: The run.
        environment: Of the run's attempt (``execution.environment``).
    """
    return {
        **{name: environment[name] for name in ("system", "cpu", "num_cores", "accelerator", "peftscope")},
        "threads × workers": f"{environment['num_threads']} × {environment['num_workers']}",
        "packages": {name: environment["packages"][name] for name in PACKAGES},
        "settings": settings_that_decide(spec, "cost"),
    }
