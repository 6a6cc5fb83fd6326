"""What training and scoring with a technique will take, before anything is downloaded or run.

The model is built from its config on the ``meta`` device, the technique is put on it, and one step of the real
training loop is done there: nothing is computed, and every storage that would come and go is noted in order. What
an accelerator would reserve for them its caching allocator decides, of which :mod:`peftscope.plan.allocator` is a
model. Where blocks repeat, a few of them are counted for all (:mod:`peftscope.plan.layers`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from peftscope.capture import capture
from peftscope.methods.checkpoint import saved_bytes
from peftscope.methods.layers import picks_layers
from peftscope.plan.counter import Counter
from peftscope.plan.footprint import Footprint
from peftscope.plan.layers import Depths, deepened, depths_of
from peftscope.plan.memory_peak import Peak
from peftscope.plan.question import Question

__all__ = ["Estimate", "footprint"]


def footprint(question: Question) -> Footprint:
    """Predict what a technique takes; what fails becomes the reason for what is missing."""
    found = _Found(question.method.title, question.experiment)
    failure = capture(lambda: _predict(question, found))
    if failure is not None:
        found.values["reason"] = failure.reason
        found.values["refused"] = failure.status == "refused"
    return found.footprint()


@dataclass
class _Found:
    """What is known so far."""

    technique: str
    experiment: str | None
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def footprint(self) -> Footprint:
        notes = tuple(dict.fromkeys(self.notes))
        return Footprint(technique=self.technique, experiment=self.experiment, notes=notes, **self.values)


def _predict(question: Question, found: _Found) -> None:
    estimate = Estimate(question, warn=found.notes.append)
    workload, built, values = question.workload, estimate.built, found.values
    values["num_trainable_params"] = built.num_trainable_params
    values["num_total_params"] = built.num_total_params
    values["checkpoint_least_bytes"], values["checkpoint_bytes"] = saved_bytes(built)
    if built.card.trains:
        peak, flops = estimate.training(workload.batch_size, workload.length)
        values["peak_train_bytes"] = peak.reserved_bytes
        values["live_train_bytes"] = peak.live_bytes
        values["breakdown"] = peak.breakdown
        values["flops_per_step"] = flops
        values["layers_counted"] = estimate.layers_counted
    if workload.scoring:
        scored = estimate.scoring(workload.batch_size, workload.length)
        values["peak_eval_bytes"] = scored.reserved_bytes
        values["eval_breakdown"] = scored.breakdown


class Estimate:
    """Peaks of a technique on a base, for any batch size and length.

    Args:
        question: What is asked about.
        warn: Takes one line for every setting that is changed or not used.

    Raises:
        TechniqueRefused: The technique does not fit the base.
    """

    def __init__(self, question: Question, warn: Callable[[str], None]) -> None:
        self.workload = question.workload
        self._whole = Counter(question, warn)
        self.built = self._whole.built
        self.layers_counted: tuple[int, ...] | None = None
        """Numbers of blocks the last training step was counted on; None for all there are."""
        self._depths: Depths | None = None
        self._less, self._more = self._whole, self._whole
        if not question.workload.every_layer and not picks_layers(self.built):
            self._go_shallow(question)

    def training(self, batch_size: int, length: int) -> tuple[Peak, int]:
        """Peak of a training step in its steady state, and its floating-point operations."""
        if self._depths is not None:
            (less, flops), (more, more_flops) = (
                counter.training_peak(batch_size, length) for counter in (self._less, self._more)
            )
            peak = self._depths.peak(less, more)
            if peak is not None:
                self.layers_counted = (self._depths.less, self._depths.more)
                return peak, self._depths.line(flops, more_flops)
        self.layers_counted = None
        return self._whole.training_peak(batch_size, length)

    def scoring(self, batch_size: int, length: int) -> Peak:
        """Peak of scoring at its longest, in batches of the training's size and length where it has none of its own."""
        at = self.workload.eval_batch_size or batch_size, self.workload.eval_length or length
        recording = None
        if self._depths is not None:
            recording = deepened(*self._less.scoring(*at), self._depths)
        if recording is None:
            recording, _ = self._whole.scoring(*at)
        return self._whole.peak(recording)

    def peak_bytes(self, batch_size: int, length: int) -> int:
        """The larger of both."""
        trained = self.training(batch_size, length)[0].reserved_bytes if self.built.card.trains else 0
        return max(trained, self.scoring(batch_size, length).reserved_bytes if self.workload.scoring else 0)

    def _go_shallow(self, question: Question) -> None:
        """Count few blocks, where what they have is on one line with what all have."""
        depths = depths_of(question.subject)
        if depths is None:
            return
        less, more = (
            Counter(replace(question, subject=question.subject.with_layers(count)), warn=lambda line: None)
            for count in (depths.less, depths.more)
        )
        if _sizes(self._whole) == [depths.line(*pair) for pair in zip(_sizes(less), _sizes(more), strict=True)]:
            self._depths, self._less, self._more = depths, less, more


def _sizes(counter: Counter) -> list[int]:
    built = counter.built
    return [built.num_trainable_params, built.num_total_params, sum(counter.base_sizes), sum(counter.adapter_sizes)]
