"""What training and scoring with a method will take, before anything is downloaded or run.

The model is built from its config on the ``meta`` device, the method is put on it, and one step of the real
training loop is done there: nothing is computed, and every storage that would come and go is noted in order. What
an accelerator would reserve for them its caching allocator decides, of which :mod:`peftscope.footprint.allocator` is a
model. Where blocks repeat, a few of them are counted for all (:mod:`peftscope.footprint.layers`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from peftscope.capture import capture
from peftscope.footprint.counter import MemoryCounter, ModelSizes
from peftscope.footprint.footprint import Footprint
from peftscope.footprint.layers import Depths, deepened, depths_of
from peftscope.footprint.memory_peak import Peak
from peftscope.footprint.query import FootprintQuery
from peftscope.footprint.recording import Recording
from peftscope.methods.checkpoint import saved_bytes, saved_entries
from peftscope.methods.layers import picks_layers
from peftscope.methods.sizes import Entry
from peftscope.tasks.base import Retention

__all__ = ["FootprintEstimator", "estimated", "footprint"]


def footprint(query: FootprintQuery) -> Footprint:
    """Predict what a method takes; what fails becomes the reason for what is missing."""
    return estimated(query)[0]


def estimated(
    query: FootprintQuery, known: FootprintEstimator | None = None
) -> tuple[Footprint, FootprintEstimator | None]:
    """What ``footprint`` gives, and what counted it, to ask it for other batches; None where something is missing.

    Args:
        query: What is asked about.
        known: What counted the method on the same base otherwise packed or trained.
    """
    found = _Found(query.method.title, query.experiment)
    counted: list[FootprintEstimator] = []
    failure = capture(lambda: counted.append(_predict(query, found, known)))
    if failure is not None:
        found.values["reason"] = failure.reason
        found.values["refused"] = failure.status == "refused"
    return found.footprint(), counted[0] if counted else None


@dataclass
class _Found:
    """What is known so far."""

    method: str
    experiment: str | None
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def footprint(self) -> Footprint:
        notes = tuple(dict.fromkeys(self.notes))
        return Footprint(method=self.method, experiment=self.experiment, notes=notes, **self.values)


def _predict(query: FootprintQuery, found: _Found, known: FootprintEstimator | None) -> FootprintEstimator:
    estimate = FootprintEstimator(query, warn=found.notes.append, known=known)
    workload, values = query.workload, found.values
    values["num_trainable_params"] = estimate.model.num_trainable_params
    values["num_total_params"] = estimate.model.num_total_params
    values["checkpoint_least_bytes"], values["checkpoint_bytes"] = saved_bytes(estimate.built, estimate.entries)
    if estimate.built.card.trains:
        peak, flops = estimate.training(workload.batch_size, workload.length)
        values["peak_train_bytes"] = peak.reserved_bytes
        values["live_train_bytes"] = peak.live_bytes
        values["breakdown"] = peak.breakdown
        values["flops_per_step"] = flops
        values["layers_counted"] = estimate.layers_counted
    if workload.scoring:
        peaks = [estimate.scoring(workload.batch_size, workload.length)]
        if estimate.retaining is not None:
            values["peak_retention_bytes"] = estimate.retaining.reserved_bytes
            peaks.append(estimate.retaining)
        largest = max(peaks, key=lambda peak: peak.reserved_bytes)
        values["peak_eval_bytes"], values["eval_breakdown"] = largest.reserved_bytes, largest.breakdown
    return estimate


class FootprintEstimator:
    """Peaks of a method on a base, for any batch size and length.

    Args:
        query: What is asked about.
        warn: Takes one line for every setting that is changed or not used.
        known: What counted the method on the same base otherwise packed or trained: that a few of its blocks stand
            for all need not be seen again.

    Raises:
        MethodRefused: The method does not fit the base.
    """

    def __init__(
        self, query: FootprintQuery, warn: Callable[[str], None], known: FootprintEstimator | None = None
    ) -> None:
        self.workload = query.workload
        self.layers_counted: tuple[int, ...] | None = None
        """Numbers of blocks the last training step was counted on; None for all there are."""
        self.length_step = query.profile.length_step
        """Lengths are multiples of it."""
        self._question, self._warn = query, warn
        is_whole = query.workload.every_layer if known is None else known._shallow is None
        self._shallow: _Shallow | None = None if is_whole else _shallow(query, warn, is_known=known is not None)
        if self._shallow is None:
            self.built, self.model = self._whole.built, self._whole.model
            self.entries = saved_entries(self.built)
        else:
            self.built, self.model, self.entries = self._shallow.less.built, self._shallow.model, self._shallow.entries

    @cached_property
    def _whole(self) -> MemoryCounter:
        return MemoryCounter(self._question, self._warn)

    def training(self, batch_size: int, length: int) -> tuple[Peak, int]:
        """Peak of a training step in its steady state, and its floating-point operations."""
        if (shallow := self._shallow) is not None:
            less, flops = shallow.less.training_peak(batch_size, length)
            more, more_flops = shallow.more.training_peak(batch_size, length)
            peak = shallow.depths.peak(less, more)
            if peak is not None:
                self.layers_counted = (shallow.depths.less, shallow.depths.more)
                return peak, shallow.depths.line(flops, more_flops)
        self.layers_counted = None
        return self._whole.training_peak(batch_size, length)

    def scoring(self, batch_size: int, length: int) -> Peak:
        """Peak of scoring at its longest, in batches of the training's size and length where it has none of its own."""
        at = self.workload.eval_batch_size or batch_size, self.workload.eval_length or length
        return self._recorded(lambda counter: counter.scoring(*at))

    @cached_property
    def retaining(self) -> Peak | None:
        """Peak of measuring what a model lost of what its base could do; None where it is not, or as scoring does."""
        retention = self.workload.retention
        if retention is None or type(retention).rehearse is Retention.rehearse:
            return None
        return self._recorded(lambda counter: counter.retaining(retention))

    def _recorded(self, record: Callable[[MemoryCounter], tuple[Recording, list[int]]]) -> Peak:
        if (shallow := self._shallow) is not None:
            recording = deepened(*record(shallow.less), shallow.depths)
            if recording is not None:
                return shallow.less.scoring_peak(recording, shallow.model)
        return self._whole.scoring_peak(record(self._whole)[0])

    def peak_bytes(self, batch_size: int, length: int, *, scoring: bool = True) -> int:
        """The largest of all; of training alone where scoring is known to fit."""
        peaks = [self.training(batch_size, length)[0]] if self.built.card.trains else []
        if scoring and self.workload.scoring:
            peaks += [self.scoring(batch_size, length), *([] if self.retaining is None else [self.retaining])]
        return max((peak.reserved_bytes for peak in peaks), default=0)


@dataclass(frozen=True, kw_only=True)
class _Shallow:
    """A method on few blocks, and what follows for all."""

    depths: Depths
    less: MemoryCounter
    more: MemoryCounter
    model: ModelSizes
    entries: dict[str, Entry]


def _shallow(query: FootprintQuery, warn: Callable[[str], None], *, is_known: bool) -> _Shallow | None:
    """A method on two small depths; None where a third one, unless that is known, has not what follows from them."""
    depths = depths_of(query.profile)
    if depths is None:
        return None
    notes: list[list[str]] = [[], []]
    counts = (depths.less, depths.more, depths.next.whole)
    asked = [replace(query, profile=query.profile.with_layers(count)) for count in counts]
    less, more = (MemoryCounter(each, told.append) for each, told in zip(asked[:2], notes, strict=True))
    if picks_layers(less.built):
        return None
    entries = [saved_entries(counter.built) for counter in (less, more)]
    if not is_known:
        third = MemoryCounter(asked[2], lambda line: None)
        follows = _sums(_model(depths.next, less, more)), depths.next.entries(*entries)
        if follows != (_sums(third.model), saved_entries(third.built)):
            return None
    for line in notes[0]:
        if line in notes[1]:  # others speak of the depth
            warn(line)
    return _Shallow(
        depths=depths,
        less=less,
        more=more,
        model=_model(depths, less, more),
        entries=depths.entries(*entries),
    )


def _model(depths: Depths, less: MemoryCounter, more: MemoryCounter) -> ModelSizes:
    few, many = less.model, more.model
    return ModelSizes(
        base_sizes=depths.sizes(few.base_sizes, many.base_sizes),
        adapter_sizes=depths.sizes(few.adapter_sizes, many.adapter_sizes),
        num_trainable_params=depths.line(few.num_trainable_params, many.num_trainable_params),
        num_total_params=depths.line(few.num_total_params, many.num_total_params),
    )


def _sums(model: ModelSizes) -> tuple[int, ...]:
    return model.num_trainable_params, model.num_total_params, sum(model.base_sizes), sum(model.adapter_sizes)
