"""What it costs to use a trained model, with its adapter and with the adapter merged into the base."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

from peftscope.measures.base import Measured, Measurement, Trained

__all__ = ["InferenceCost"]

FORMS: tuple[Literal["adapter", "merged"], ...] = ("adapter", "merged")


class InferenceCost(Measurement):
    """Whatever the kind of model measures of inference."""

    stage: ClassVar[str] = "latency"

    def take(self, trained: Trained, measured: Measured) -> None:
        """The kind's ``inference_metrics``."""
        for form in FORMS:
            names = [metric.name for metric in trained.kind.inference_metrics if form in metric.name]
            if trained.spec.measure.latency:
                measured.attempt("latency", names, partial(_measure, trained, measured, form))
            else:
                measured.missing |= dict.fromkeys(names, "measure.latency is false")


def _measure(trained: Trained, measured: Measured, form: Literal["adapter", "merged"]) -> None:
    model = trained.built.merge() if form == "merged" else trained.built.model
    for name, value in trained.kind.inference_cost(model, form).items():
        measured.put(name, value)
