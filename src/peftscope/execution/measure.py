"""Measuring a trained result: one measurement after another, in an order in which none disturbs another.

Scores first, then the checkpoint, forgetting and drift. What follows is measured beside the result (memory by
metered steps, latency): its failure costs those figures and not the run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from peftscope.measures.base import Measured, Trained
from peftscope.measures.registry import MEASUREMENTS, measurements
from peftscope.measures.score import mean_score, score_split
from peftscope.plugins import made_by
from peftscope.schema.record import ExampleOutcome
from peftscope.training.loop import held_out_loss

__all__ = ["measure_result", "measure_trial"]


def measure_result(trained: Trained, measured: Measured, *, stage: Callable[[str], None]) -> None:
    """Take every measurement of a result, filling ``measured`` as it goes."""
    for name, metrics, measurement in measurements():
        stage(measurement.stage)
        take = partial(measurement.take, trained, measured)
        if measurement.beside:
            what = name if name in MEASUREMENTS.built_in else f"{name} of {made_by(measurement)}"
            measured.attempt(what, [metric.name for metric in metrics], take)
        else:
            take()


def measure_trial(trained: Trained, measured: Measured, *, stage: Callable[[str], None]) -> None:
    """Take what a trial is chosen by: score and loss on validation, with each example's score."""
    model, task = trained.built.model, trained.task
    stage("score")
    outcomes = score_split(task, model, trained.predictor, "valid")
    measured.put("valid_score", mean_score(outcomes))
    measured.examples = [ExampleOutcome(example_id=o.example_id, score=o.score, draw=o.draw) for o in outcomes]
    stage("losses")
    measured.put("valid_loss", held_out_loss(model, task, task.eval_batches("valid")))
