"""Whether a repetition of a run gave the same: every figure that can repeat, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from peftscope.measures.registry import metric_specs
from peftscope.schema.difference import differences
from peftscope.schema.record import RunRecord

__all__ = ["Agreement", "compare_records", "repeatable"]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """A record set against that of its repetition."""

    num_losses: int
    """Losses on the training curve."""
    same_losses: bool
    """Whether all of them are the same, bit for bit."""
    deviations: tuple[str, ...]
    """One line per figure that can repeat and did not."""
    conditions: tuple[str, ...]
    """What differs in the conditions, which may be why."""

    @property
    def agrees(self) -> bool:
        """Whether everything that can repeat did."""
        return not self.deviations


def repeatable(record: RunRecord) -> dict[str, Any]:
    """What of a record the same run gives again on the same machine with the same threads.

    Left out: times and sampled memory, attempts, and the protocol of cost, which names the machine.
    """
    fleeting = {name for name, metric in metric_specs().items() if not metric.repeats}
    raw = record.model_dump(mode="json", by_alias=True, exclude={"attempts", "cost_protocol", "protocol"})
    return {
        **raw,
        "metrics": {name: value for name, value in raw["metrics"].items() if name not in fleeting},
        "curve": [{k: v for k, v in point.items() if k != "train_time_s"} for point in raw["curve"]],
    }


def compare_records(first: RunRecord, second: RunRecord) -> Agreement:
    """Set a record against that of its repetition."""
    losses = [[point.train_loss for point in record.curve] for record in (first, second)]
    return Agreement(
        num_losses=len(losses[0]),
        same_losses=losses[0] == losses[1],
        deviations=tuple(_deviations(repeatable(first), repeatable(second))),
        conditions=tuple(_conditions(first, second)),
    )


def _deviations(first: dict[str, Any], second: dict[str, Any]) -> Iterator[str]:
    yield from differences(_by_key(first), _by_key(second))


def _by_key(values: dict[str, Any]) -> dict[str, Any]:
    """Lists of points and examples by step and id, so that a deviation names its place."""
    return {
        **values,
        "curve": {f"step {point['step']}": point for point in values["curve"]},
        "examples": {f"{example['example_id']}#{example['draw']}": example for example in values["examples"]},
    }


def _conditions(first: RunRecord, second: RunRecord) -> Iterator[str]:
    if first.protocol is not None and second.protocol is not None:
        yield from differences(first.protocol.quality, second.protocol.quality)
        yield from differences(first.protocol.cost, second.protocol.cost)
