"""What is registered; no torch here."""

from __future__ import annotations

from pydantic import Field

from peftscope.execution.executors.registry import ExecutorEntry
from peftscope.measures.registry import MeasurementEntry
from peftscope.models.kinds.registry import KindEntry
from peftscope.schema.metric import MetricSpec
from peftscope.tasks.options import TaskOptions
from peftscope.tasks.registry import TaskEntry

NET = KindEntry(kind="plain_models.kinds:RegressionNet")
DENOISER = KindEntry(kind="plain_models.kinds:Denoiser")


class LinearMapOptions(TaskOptions):
    """How much data there is, and how noisy."""

    num_rows: int = Field(default=60, gt=0)
    """Rows in all: half of them to train on, a quarter each to validate and test on."""
    noise: float = Field(default=0.1, ge=0)
    """Standard deviation of what is added to the outputs."""


class PointCloudOptions(TaskOptions):
    """How many points, and how often each is drawn."""

    num_points: int = Field(default=40, gt=0)
    num_draws: int = Field(default=2, gt=0)


LINEAR_MAP = TaskEntry(
    task="plain_models.tasks:LinearMap", options="plain_models.entry:LinearMapOptions", kinds=("regression-net",)
)
POINT_CLOUD = TaskEntry(
    task="plain_models.tasks:PointCloud", options="plain_models.entry:PointCloudOptions", kinds=("denoiser",)
)
MOVEMENT = MeasurementEntry(
    measurement="plain_models.measure:Movement",
    metrics=(
        MetricSpec(
            name="movement",
            unit="length",
            direction="lower",
            window="outputs on the validation split, after the training against before",
            label="movement of outputs",
            heading="moved",
            limit="movement",
        ),
        MetricSpec(name="num_looks", unit="count", direction="neutral", window="validations during the training"),
    ),
)
IN_TURN = ExecutorEntry(executor="plain_models.executor:InTurn")
