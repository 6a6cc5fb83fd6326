"""How long a study still takes, from what its runs took so far. Pure, and free of torch."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import mean

from peftscope.schema.live import RunState
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.tuning.job import Job

__all__ = ["Eta", "remaining", "wall_time"]


@dataclass(frozen=True, kw_only=True)
class Eta:
    """Time to the end of a study."""

    seconds: float
    at_least: bool = False
    """A part of it is not known yet: it takes this long or longer."""


def remaining(
    *,
    waiting: Sequence[Job],
    under_way: Sequence[tuple[RunSpec, RunState]],
    finished: Iterable[RunRecord],
    num_workers: int,
) -> Eta | None:
    """Time to the end of a study.

    A start is expected to take what starts of its kind (final runs, trials to the same rung) and its method took,
    or else all of its kind, or else its share of the steps of all that trained. The base, which is not trained,
    counts for the base alone.

    Args:
        waiting: What is still to start, in the order it will.
        under_way: Runs that have started.
        finished: Records of runs that are done; those that did not end well tell nothing of how long one takes.
        num_workers: Runs at a time.

    Returns:
        None as long as nothing is known.
    """
    if not waiting and not under_way:
        return Eta(seconds=0.0)
    rates = _Rates(finished, under_way)
    if not rates.known:
        return None
    parts = [rates.left(spec, state) for spec, state in under_way]
    to_come = [rates.whole(job) for job in waiting]
    # Each worker takes the next run as soon as it is free.
    free_at = [part.seconds for part in parts] + [0.0] * max(0, num_workers - len(parts))
    heapq.heapify(free_at)
    for part in to_come:
        heapq.heappush(free_at, (heapq.heappop(free_at) if free_at else 0.0) + part.seconds)
    return Eta(seconds=max(free_at), at_least=any(part.at_least for part in (*parts, *to_come)))


def wall_time(record: RunRecord) -> float | None:
    """Seconds a run took from its start to its end; None where no record says it.

    The run's own measure where there is one: it leaves out what all runs of a study share.
    """
    measured = record.metrics.get("total_time_s")
    if measured is not None:
        return float(measured)
    attempts = [attempt for attempt in record.attempts if attempt.kind == "run"]
    try:
        started, ended = (datetime.fromisoformat(at) for at in (attempts[-1].started_at, attempts[-1].ended_at))
        return max(0.0, (ended - started).total_seconds())
    except (IndexError, ValueError, TypeError):  # an imported record need not say when it was made
        return None


class _Rates:
    """What the runs so far say about how long one takes."""

    def __init__(self, finished: Iterable[RunRecord], under_way: Sequence[tuple[RunSpec, RunState]]) -> None:
        took = [(r, t) for r in finished if r.status in ("ok", "eliminated") and (t := wall_time(r)) is not None]
        trained = [(Job.of(r), t) for r, t in took if _trains(r.spec)]
        self.by_method = _means((_kind(job, job.run.method.name), t) for job, t in trained)
        self.by_kind = _means((_kind(job), t) for job, t in trained)
        steps = sum(job.num_steps for job, _ in trained)
        self.step_s = sum(t for _, t in trained) / steps if steps else None
        self.scoring_s = _mean_metric((r for r, _ in took), "eval_time_s")
        untrained = [t for r, t in took if not _trains(r.spec)]
        if not untrained:  # what a run takes beside its training steps
            finals = [(r, t) for r, t in took if _trains(r.spec) and r.spec.purpose == "final"]
            untrained = [max(0.0, t - float(s)) for r, t in finals if (s := r.metrics.get("train_time_s"))]
        self.untrained = mean(untrained) if untrained else None
        self.training = [
            (state.elapsed_s + _training_left(state), state.max_steps * state.step_time_s)
            for spec, state in under_way
            if _trains(spec) and state.step and state.max_steps and state.step_time_s is not None
        ]

    @property
    def known(self) -> bool:
        return bool(self.step_s is not None or self.untrained is not None or self.training)

    def whole(self, job: Job) -> Eta:
        """Time of a start from its beginning to its end."""
        if not _trains(job.run):
            return _known(self.untrained)
        own, alike = _kind(job, job.run.method.name), _kind(job)
        expected = self.by_method.get(own, self.by_kind.get(alike))
        if expected is None and self.step_s is not None:
            expected = self.step_s * job.num_steps
        if expected is not None:
            return Eta(seconds=expected)
        # No run has been trained to its end: those under way say how long training takes, the base how long the rest.
        so_far = mean(whole for whole, _ in self.training) if self.training else 0.0
        steps = mean(steps for _, steps in self.training) if self.training else 0.0
        return Eta(seconds=max(so_far, steps + (self.untrained or 0.0)), at_least=True)

    def left(self, spec: RunSpec, state: RunState) -> Eta:
        """Time of a run from where it is now."""
        whole = self.whole(Job(run=spec, until=state.until))
        training = _training_left(state)
        own = training + (self.scoring_s or 0.0) if training else 0.0
        left = whole.seconds - state.elapsed_s
        overdue = left <= 0 and not training
        return Eta(seconds=max(left, own, 0.0), at_least=whole.at_least or overdue)


def _trains(spec: RunSpec) -> bool:
    return spec.learning_rate is not None


def _kind(job: Job, method: str = "") -> str:
    return f"{method} {job.run.purpose} {job.first_step}-{job.until or 'end'}"


def _training_left(state: RunState) -> float:
    last = state.until or state.max_steps
    if not state.step or last is None or state.step_time_s is None:
        return 0.0
    return max(0, last - state.step) * state.step_time_s


def _known(seconds: float | None) -> Eta:
    return Eta(seconds=0.0, at_least=True) if seconds is None else Eta(seconds=seconds)


def _means(pairs: Iterable[tuple[str, float]]) -> Mapping[str, float]:
    gathered: dict[str, list[float]] = {}
    for name, seconds in pairs:
        gathered.setdefault(name, []).append(seconds)
    return {name: mean(values) for name, values in gathered.items()}


def _mean_metric(records: Iterable[RunRecord], name: str) -> float | None:
    values = [float(value) for r in records if (value := r.metrics.get(name)) is not None]
    return mean(values) if values else None
