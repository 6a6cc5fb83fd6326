"""What a trained model lost of what its base could do, and how far it moved from it."""

from __future__ import annotations

from typing import ClassVar

from peftscope.measures.base import Measured, Measurement, Trained
from peftscope.measures.metrics_limits_columns import FORGETTING

__all__ = ["Forgetting"]


class Forgetting(Measurement):
    """Sets the trained model against the base's values, as the task measures them."""

    stage: ClassVar[str] = "retention"
    beside: ClassVar[bool] = False

    def take(self, trained: Trained, measured: Measured) -> None:
        """``forgetting``, ``drift`` and whatever else the task's ``Retention`` gives."""
        if trained.retention is None:
            reason = "the task measures none (of text: general_tokens is 0)"
            measured.missing |= {metric.name: reason for metric in FORGETTING}
            return
        retention, baseline = trained.retention
        for name, value in retention.compare(trained.built.model, dict(baseline)).items():
            measured.put(name, value)
        for metric in FORGETTING:
            measured.missing.setdefault(metric.name, "the task measures what the base keeps in another way")
