"""What a run's figures hold under: the constituents of the two protocol hashes.

Neither holds technique, learning rate or seed: these are what is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from peftscope.schema.identity import settings_that_decide
from peftscope.schema.run import RunSpec

__all__ = ["cost_conditions", "quality_conditions"]

PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")
"""Libraries that decide time and memory."""


def quality_conditions(
    spec: RunSpec,
    *,
    prediction: str,
    data: Mapping[str, Any],
    retention: Mapping[str, Any] | None,
    weights_sha256: str,
    settings_sha256: str,
    dtype: torch.dtype,
) -> dict[str, Any]:
    """What decides quality.

    Args:
        spec: The run.
        prediction: How outputs are chosen (``ModelKind.prediction``).
        data: The task's fingerprint: version, options (prompt, decoding limits), splits, token ids.
        retention: Fingerprint of what forgetting and drift are measured on.
        weights_sha256: Hash of the base's weight files.
        settings_sha256: Hash of what the base's config decides beside them.
        dtype: Type of the base's weights.
    """
    return {
        "measured_by": "peftscope",
        "weights": weights_sha256,
        "model_config": settings_sha256,
        "dtype": str(dtype).removeprefix("torch."),
        "task": dict(data),
        "settings": settings_that_decide(spec, "quality"),
        "prediction": prediction,
        "retention": dict(retention) if retention is not None else None,
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
