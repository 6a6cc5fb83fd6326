"""Tuning by a number of trials (``trials: N``): what to try, who goes on at a rung, what is chosen.

Which rate is asked for, and who is carried on, is one rule for all methods; where further settings are searched
beside the rate, Optuna's sampler draws all of them together. The records are the truth: told again in the same
order, they lead to the same trials, so a study that was killed goes on where it stood.

A rung is a point of one full-length schedule. Who goes on from it: the best by validation loss and the next higher
learning rates, half of those that got there and two at least. Before the learning rate decays, the rate that will be
best in the end still looks worse than a lower one (its noise has not been averaged out), so a rung that kept the best
alone would choose rates too low.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from peftscope.analysis.tuning import Edge, Trial, Tuning
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import TuningSpec
from peftscope.tuning.job import Job
from peftscope.tuning.sampler import Point, draw, grid, next_rate
from peftscope.tuning.search_space import MAX_KILLS, SearchSpace

__all__ = ["Search", "survivors"]

Origin = Literal["grid", "growth", "refinement", "sampled"]
NUDGE = 1.1
"""By which a rate is moved that was already tried with the same settings, as a factor."""


@dataclass
class _Entry:
    """A trial on its way."""

    run: RunSpec
    knobs: Mapping[str, Any]
    origin: Origin
    rung: int = 0
    """Rungs it has passed; the number of rungs is: on its way to the end."""
    record: RunRecord | None = None
    """What the stage it was last started for left behind; None while it is waited for."""
    num_kills: int = 0
    is_out: bool = False
    """Eliminated, failed, or at its end."""

    @property
    def rate(self) -> float:
        assert self.run.learning_rate is not None
        return self.run.learning_rate

    @property
    def until(self) -> int | None:
        """Rung it is on its way to; None where that is the end."""
        return self.run.rungs[self.rung] if self.rung < len(self.run.rungs) else None

    @property
    def job(self) -> Job:
        """The job it was last given."""
        return Job(run=self.run, until=self.until)

    @property
    def loss(self) -> float:
        """Validation loss at the rung it is on its way to, or at the end; infinite where it did not get there.

        A record may know more than is asked: one that has ended, well or not, tells of the rungs it passed.
        """
        assert self.record is not None
        loss: float | int | None
        if self.until is not None:
            loss = next((p.valid_loss for p in self.record.curve if p.step == self.until), None)
        else:
            loss = self.record.metrics.get("valid_loss") if self.record.status == "ok" else None
        return float(loss) if loss is not None and math.isfinite(loss) else math.inf


class Search:
    """The tuning of one method; given records, it says which jobs come next.

    Args:
        method: Its title in the study.
        space: What is searched.
        tuning: The offer, the same for every method.
        make_run: A trial's run from its learning rate and the settings searched beside it.
        higher_is_better: Direction of the task's score.
    """

    def __init__(
        self,
        method: str,
        space: SearchSpace,
        tuning: TuningSpec,
        make_run: Callable[[float, Mapping[str, Any]], RunSpec],
        *,
        higher_is_better: bool = True,
    ) -> None:
        assert tuning.trials is not None
        self.method, self.space, self.tuning, self.make_run = method, space, tuning, make_run
        self._offered = tuning.trials
        self.higher_is_better = higher_is_better
        self.entries: list[_Entry] = []
        self.is_refused = False
        self._due: list[Job] = []
        rates = grid(space.low, space.high, self._offered)
        self._spacing = min((b / a for a, b in pairwise(rates)), default=math.sqrt(space.high / space.low))
        first = {name: values[0] for name, values in space.knobs.items()}
        for rate in rates:
            self._offer(rate, first, "grid")

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be tried."""
        return not self._due and all(entry.record is not None for entry in self.entries)

    def due(self) -> list[Job]:
        """Starts that can be made now; each is given once."""
        given, self._due = self._due, []
        return given

    def tell(self, record: RunRecord) -> None:
        """Take in what a start left behind; a trial that something killed is started again."""
        entry = next(entry for entry in self.entries if entry.run.run_id == record.run_id)
        if record.status == "killed" and not entry.job.is_reached_by(record):
            entry.num_kills += 1
            if entry.num_kills < MAX_KILLS:
                self._start(entry)
                return
        entry.record = record
        if all(entry.record is not None for entry in self.entries):
            self._settle()  # what comes next follows from all of a stage, in whatever order they ended

    def result(self) -> Tuning:
        """What it came to so far."""
        chosen = self._best() if self.is_over else None
        return Tuning(
            method=self.method,
            num_offered=self._offered,
            trials=tuple(self._trial(number, entry) for number, entry in enumerate(self.entries)),
            chosen=None if chosen is None else self._trial(self.entries.index(chosen), chosen),
            learning_rate=None if chosen is None else chosen.rate,
            edge=None if chosen is None else self._edge(chosen),
            bracket=(None, None) if chosen is None else self._beside(chosen),
        )

    @property
    def num_trials(self) -> int:
        """Trials that are known, and those that are offered and not known yet."""
        return len(self.entries) + self._num_to_come

    def upcoming(self) -> list[Job]:
        """Starts that will follow those given, as far as can be told."""
        run = self.entries[0].run
        stages = [*run.rungs, None]
        jobs = [Job(run=run, until=stages[0])] * self._num_to_come
        if not self.is_over:
            passed = max(entry.rung for entry in self.entries)
            jobs += [Job(run=run, until=until) for until in stages[passed + 1 :] for _ in range(2)]
        return jobs

    @property
    def _num_to_come(self) -> int:
        return 0 if self.is_over or self.is_refused else self._offered - len(self.entries)

    def _offer(self, rate: float, knobs: Mapping[str, Any], origin: Origin) -> None:
        run = self.make_run(float(f"{rate:.1e}"), knobs)
        if any(entry.run.run_id == run.run_id for entry in self.entries):  # knobs of few candidates drawn twice
            self._offer(rate * NUDGE, knobs, origin)
            return
        self.entries.append(_Entry(run=run, knobs=knobs, origin=origin))
        self._start(self.entries[-1])

    def _start(self, entry: _Entry) -> None:
        entry.record = None
        self._due.append(entry.job)

    def _settle(self) -> None:
        """All that was started has ended: offer the next trial, or pass a rung, or end."""
        alive = [entry for entry in self.entries if not entry.is_out]
        for entry in alive:
            entry.is_out = math.isinf(entry.loss)
        alive = [entry for entry in alive if not entry.is_out]
        if all(entry.record is not None and entry.record.status == "refused" for entry in self.entries):
            self.is_refused = True  # no learning rate makes a method fit a model it does not fit
        elif len(self.entries) < self._offered:
            self._offer_next()
        elif alive and alive[0].until is not None:
            self._pass_rung(alive)
        else:
            for entry in alive:
                entry.is_out = True

    def _pass_rung(self, alive: Sequence[_Entry]) -> None:
        going_on = survivors([(entry.rate, entry.loss) for entry in alive])
        for index, entry in enumerate(alive):
            if index in going_on:
                entry.rung += 1
                self._start(entry)
            else:
                entry.is_out = True

    def _offer_next(self) -> None:
        if self.space.knobs:
            tried = [({"learning_rate": entry.rate, **entry.knobs}, entry.loss) for entry in self.entries]
            drawn = draw(self.space, tried, self.tuning.seed)
            self._offer(drawn.pop("learning_rate"), drawn, "sampled")
            return
        proposal = next_rate([Point(entry.rate, entry.loss) for entry in self.entries], self._spacing)
        self._offer(proposal.rate, {}, proposal.origin)

    def _best(self) -> _Entry | None:
        """Best validation score; of equals the lower loss, then the lower rate."""
        sign = -1.0 if self.higher_is_better else 1.0
        ended = [e for e in self.entries if e.record and e.until is None and e.record.status == "ok"]
        scored = [(e, s) for e in ended if e.record and (s := e.record.metrics.get("valid_score")) is not None]
        if not scored:
            return None
        return min(scored, key=lambda pair: (sign * pair[1], pair[0].loss, pair[0].rate))[0]

    def _beside(self, chosen: _Entry) -> tuple[float | None, float | None]:
        rates = [entry.rate for entry in self.entries]
        lower, higher = [r for r in rates if r < chosen.rate], [r for r in rates if r > chosen.rate]
        return max(lower, default=None), min(higher, default=None)

    def _edge(self, chosen: _Entry) -> Edge | None:
        low, high = (rate is None for rate in self._beside(chosen))
        return "both" if low and high else "lowest" if low else "highest" if high else None

    def _trial(self, number: int, entry: _Entry) -> Trial:
        record = entry.record
        metrics = record.metrics if record else {}
        return Trial(
            number=number,
            learning_rate=entry.rate,
            seed=entry.run.seed,
            knobs=entry.knobs,
            origin=entry.origin,
            run_id=entry.run.run_id,
            status=record.status if record else "planned",
            reason=record.reason if record else None,
            num_steps=int(metrics.get("num_steps") or 0),
            valid_score=metrics.get("valid_score"),
            valid_loss=metrics.get("valid_loss"),
            rungs=tuple((p.step, p.valid_loss) for p in record.curve if p.valid_loss is not None) if record else (),
        )


def survivors(trials: Sequence[tuple[float, float]]) -> set[int]:
    """Who goes on from a rung: the best and the next higher learning rates, half of all and two at least.

    Args:
        trials: Learning rate and validation loss of each.

    Returns:
        Their indices; fewer than half where no more rates are higher than the best.

    >>> sorted(survivors([(1e-4, 2.0), (1e-3, 1.0), (1e-2, 1.2), (1e-1, 9.0)]))
    [1, 2]
    """
    number = max(2, math.ceil(len(trials) / 2))
    best_rate = min(trials, key=lambda trial: (trial[1], trial[0]))[0]
    not_lower = sorted((i for i, trial in enumerate(trials) if trial[0] >= best_rate), key=lambda i: trials[i])
    return set(not_lower[:number])
