"""Measuring a run: what goes along with its training, then of the result one measurement after another.

Scores first, then the checkpoint, forgetting and drift. What follows is measured beside the result (memory by
metered steps, latency): its failure costs those figures and not the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from peftscope.measures.base import Measured, Measurement, Trained, Watch
from peftscope.measures.registry import MEASUREMENTS, measurements
from peftscope.measures.score import mean_score, score_and_loss
from peftscope.methods.build import Built
from peftscope.plugins import made_by
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import ExampleOutcome
from peftscope.training.loop import held_out_loss

__all__ = ["Measurements"]


class Measurements:
    """The measurements of one run, in the order in which none disturbs another.

    Args:
        measured: Filled as they go.
    """

    def __init__(self, measured: Measured) -> None:
        self.measured = measured
        self._all = list(measurements())
        self._watches: list[tuple[str, tuple[MetricSpec, ...], Watch]] = []

    @contextmanager
    def watching(self, built: Built) -> Iterator[None]:
        """Let those that want it see the training that goes on inside."""
        for name, metrics, measurement in self._all:
            self._attempt(name, metrics, measurement, partial(self._start, name, metrics, measurement, built))
        try:
            yield
        finally:
            self._tell(lambda watch: watch.stop())
        self._tell(lambda watch: watch.put(self.measured))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside does not count as training."""
        self._tell(lambda watch: watch.pause())
        yield
        self._tell(lambda watch: watch.resume())

    def take_of_result(self, trained: Trained, *, stage: Callable[[str], None]) -> None:
        """Take every measurement of a result."""
        for name, metrics, measurement in self._all:
            stage(measurement.stage)
            take = partial(measurement.take, trained, self.measured)
            if measurement.beside:
                self._attempt(name, metrics, measurement, take)
            else:
                take()

    def take_of_trial(self, trained: Trained, *, stage: Callable[[str], None]) -> None:
        """Take what a trial is chosen by: score and loss on validation, with each example's score."""
        model, task, measured = trained.built.model, trained.task, self.measured
        stage("score")
        outcomes, loss = score_and_loss(task, model, trained.predictor, "valid")
        measured.put("valid_score", mean_score(outcomes))
        measured.examples = [ExampleOutcome(example_id=o.example_id, score=o.score, draw=o.draw) for o in outcomes]
        if loss is None:
            stage("losses")
            loss = held_out_loss(model, task, task.eval_batches("valid"))
        measured.put("valid_loss", loss)

    def _start(self, name: str, metrics: tuple[MetricSpec, ...], measurement: Measurement, built: Built) -> None:
        watch = measurement.watch(built)
        if watch is not None:
            watch.start()
            self._watches.append((name, metrics, watch))

    def _tell(self, what: Callable[[Watch], None]) -> None:
        for entry in list(self._watches):
            name, metrics, watch = entry
            if not self._attempt(name, metrics, watch, partial(what, watch)):
                self._watches.remove(entry)

    def _attempt(
        self, name: str, metrics: Sequence[MetricSpec], of: Measurement | Watch, action: Callable[[], None]
    ) -> bool:
        what = name if name in MEASUREMENTS.built_in else f"{name} of {made_by(of)}"
        return self.measured.attempt(what, [metric.name for metric in metrics], action)
