"""Measurements by name. Built-in ones stand here; others come from the entry-point group ``peftscope.measurements``.

A plug-in is an entry point whose object is a ``MeasurementEntry``, in a module that imports no torch::

    [project.entry-points."peftscope.measurements"]
    my-measurement = "my_package.entry:MEASUREMENT"

    MEASUREMENT = MeasurementEntry(measurement="my_package.measure:MyMeasurement", metrics=(MetricSpec(...),))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peftscope.errors import PlugInError
from peftscope.measures import metrics_limits_columns as own
from peftscope.models.kinds.registry import KINDS
from peftscope.plugins import Registry, load_target
from peftscope.schema.metric import MetricSpec
from peftscope.tasks.registry import TASKS

if TYPE_CHECKING:  # torch comes with the contract, and metrics must be listed without it
    from peftscope.measures.base import Measurement

__all__ = ["MEASUREMENTS", "MeasurementEntry", "import_built_in", "measurements", "metric_specs"]


@dataclass(frozen=True, kw_only=True)
class MeasurementEntry:
    """Where a measurement's class is, and what it gives; the class is not imported before a run takes it."""

    measurement: str
    """``module:class``."""
    metrics: tuple[MetricSpec, ...] = ()
    """What it gives, beside what a kind of model says it has (``KindEntry.metrics``)."""


def _entry(target: str, *metrics: MetricSpec) -> MeasurementEntry:
    return MeasurementEntry(measurement=f"peftscope.measures.{target}", metrics=metrics)


MEASUREMENTS = Registry(
    "measurement",
    "peftscope.measurements",
    MeasurementEntry,
    {
        "score": _entry("score:Score", *own.SCORES),
        "checkpoint": _entry("checkpoint:Checkpoint", *own.CHECKPOINT),
        "forgetting": _entry("forgetting:Forgetting", *own.FORGETTING),
        "samples": _entry("samples:Samples"),
        "validation": _entry("validation:Validation", *own.VALIDATION),
        "losses": _entry("losses:Losses", *own.LOSSES),
        "memory": _entry("memory:Memory", *own.MEMORY),
        "inference": _entry("inference:InferenceCost"),
    },
)
"""In the order they are taken: none may disturb one that comes after it."""


def import_built_in() -> None:
    """Import the built-in measurements, for a process that others are forked from."""
    for entry in MEASUREMENTS.built_in.values():
        load_target(entry.measurement)


def measurements() -> Iterator[tuple[str, tuple[MetricSpec, ...], Measurement]]:
    """Name, metrics and a new instance of each: our own in their order, then those of other packages.

    Raises:
        PlugInError: One of another package cannot be loaded.
    """
    from peftscope.measures.base import Measurement

    others = [name for name in MEASUREMENTS.names() if name not in MEASUREMENTS.built_in]
    for name in (*MEASUREMENTS.built_in, *others):
        entry = MEASUREMENTS.get(name)
        yield name, entry.metrics, MEASUREMENTS.load(name, entry.measurement, Measurement)()


def metric_specs(kind: str | None = None) -> Mapping[str, MetricSpec]:
    """Every metric a run can have, by its name.

    Args:
        kind: A kind of model, to have its alone; None gives those of all kinds.
    """
    # sizes and costs of training are noted while a run builds and trains, by no measurement; the tables' order
    found: list[MetricSpec] = [
        *own.SCORES,
        *own.SIZES,
        *own.MEMORY,
        *own.VALIDATION,
        *own.CHECKPOINT,
        *own.TRAINING,
    ]
    for name in (*MEASUREMENTS.built_in, *MEASUREMENTS.names()):
        found += MEASUREMENTS.get(name).metrics
    for name in KINDS.names():
        if kind is None or name == kind:
            found += KINDS.get(name).metrics
    for name in TASKS.names():
        with suppress(PlugInError):  # a study of that task says what is wrong with it; others need not
            found += TASKS.get(name).metrics
    return {spec.name: spec for spec in found if kind is None or not spec.kinds or kind in spec.kinds}
