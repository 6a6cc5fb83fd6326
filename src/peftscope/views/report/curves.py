"""Learning-rate curves, training curves and the best so far, as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from peftscope.analysis.best_so_far import best_so_far
from peftscope.analysis.tuning import Trial, Tuning
from peftscope.schema.record import RunRecord
from peftscope.views.report.quantities import plain
from peftscope.views.units import rate_text

__all__ = ["EDGES", "best_data", "course_of", "learning_rate_data", "training_data"]

LONGEST = 240
"""Points of a training curve; longer ones are thinned."""
STOPPED = ("eliminated",)
EDGES = {
    "lowest": "The chosen learning rate has no worse neighbour below; a better one may lie there.",
    "highest": "The chosen learning rate has no worse neighbour above; a better one may lie there.",
    "both": "The chosen learning rate has no worse neighbour; a better one may lie on either side.",
}


def learning_rate_data(tunings: Iterable[Tuning]) -> list[dict[str, Any]]:
    """One entry per method: its trials by learning rate, which was chosen, whether that lies on an edge.

    A trial that was stopped has the loss at the last rung it reached, and says the step.
    """
    return [
        {
            "method": tuning.method,
            "offered": tuning.num_offered,
            "steps": tuning.num_steps,
            "edge": EDGES[tuning.edge] if tuning.edge else None,
            "chosen": None if tuning.chosen is None else rate_text(tuning.learning_rate),
            "bracket": [plain(rate) for rate in tuning.bracket],
            "rate": plain(tuning.learning_rate),
            "means": _means(tuning),
            "short": _short(tuning),
            "trials": [
                _trial(trial, tuning) for trial in sorted(tuning.trials, key=lambda t: (t.learning_rate, t.number))
            ],
        }
        for tuning in tunings
    ]


def _means(tuning: Tuning) -> list[dict[str, Any]]:
    """Score and loss at the end by learning rate, each the mean over seeds; of the settings that were chosen."""
    ended: dict[float, list[Trial]] = {}
    for trial in tuning.trials:
        if trial.status == "ok" and (tuning.chosen is None or trial.knobs == tuning.chosen.knobs):
            ended.setdefault(trial.learning_rate, []).append(trial)
    return [
        {
            "rate": plain(rate),
            "score": _mean(trial.valid_score for trial in trials),
            "loss": _mean(trial.valid_loss for trial in trials),
        }
        for rate, trials in sorted(ended.items())
    ]


def _short(tuning: Tuning) -> list[dict[str, Any]]:
    """Validation loss at the first rung by learning rate, which is what short trials are compared by."""
    at_rung = [trial for trial in tuning.trials if trial.rungs]
    return [
        {"rate": plain(trial.learning_rate), "step": trial.rungs[0][0], "loss": plain(trial.rungs[0][1])}
        for trial in sorted(at_rung, key=lambda trial: (trial.learning_rate, trial.number))
    ]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return plain(sum(known) / len(known)) if known else None


def _trial(trial: Trial, tuning: Tuning) -> dict[str, Any]:
    step, loss = trial.rungs[-1] if trial.rungs else (None, None)
    state = "done" if trial.status == "ok" else "stopped" if trial.status in STOPPED else trial.status
    knobs = ", ".join(f"{key} {value}" for key, value in trial.knobs.items())
    parts = [
        f"trial {trial.number + 1} ({trial.origin}), lr {trial.learning_rate:g}",
        "" if trial.seed is None else f"seed {trial.seed}",
        knobs,
        "" if trial.valid_score is None else f"validation score {trial.valid_score:.4g}",
        "" if trial.valid_loss is None else f"validation loss {trial.valid_loss:.4g}",
        f"stopped at step {step or trial.num_steps}" if state == "stopped" else "",
        "" if trial.status == "ok" else f"{trial.status}: {trial.reason}" if trial.reason else trial.status,
    ]
    return {
        "rate": plain(trial.learning_rate),
        "state": state,
        "score": plain(trial.valid_score),
        "loss": plain(trial.valid_loss if trial.valid_loss is not None else loss),
        "stopped_at": (step or trial.num_steps) if state == "stopped" else None,
        "chosen": tuning.chosen is not None and trial.number == tuning.chosen.number,
        "text": "\n".join(part for part in parts if part),
    }


def training_data(records: Iterable[RunRecord], order: Sequence[str], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """One entry per final run that has a curve, methods in the order given, then by seed.

    Args:
        records: Runs of any kind.
        order: Candidates in their order.
        names: Run id -> candidate, where that is not the run's title.
    """
    place = {method: index for index, method in enumerate(order)}
    runs = [(names.get(r.run_id, r.spec.method.title), r) for r in records if r.spec.purpose == "final" and r.curve]
    runs.sort(key=lambda item: (place.get(item[0], len(place)), item[1].spec.seed))
    return [course_of(name, run) for name, run in runs]


def course_of(name: str, run: RunRecord) -> dict[str, Any]:
    """A run's curve: steps and values of its loss and its validation score; long ones are thinned."""
    stride = math.ceil(len(run.curve) / LONGEST)
    kept = [point for index, point in enumerate(run.curve) if index % stride == 0 or index == len(run.curve) - 1]
    scored = [point for point in run.curve if point.valid_score is not None]
    return {
        "method": name,
        "seed": run.spec.seed,
        "status": run.status,
        "thinned": stride > 1,
        "loss": {"steps": [p.step for p in kept], "values": [plain(p.train_loss) for p in kept]},
        "score": {"steps": [p.step for p in scored], "values": [plain(p.valid_score) for p in scored]},
    }


def best_data(tunings: Iterable[Tuning], *, higher_is_better: bool) -> list[dict[str, Any]]:
    """Best validation score after each trial: in the order of the offers, and expected over all orders."""
    frame = best_so_far(tunings, higher_is_better=higher_is_better)
    found = []
    for method, rows in frame.groupby("method", sort=False):
        values = [_number(value) for value in rows["best_in_order"]]
        if any(value is not None for value in values):
            expected = [_number(value) for value in rows["expected_best"]]
            found.append({"method": str(method), "values": values, "expected": expected})
    return found


def _number(value: Any) -> float | None:
    return None if value is None else plain(float(value))
