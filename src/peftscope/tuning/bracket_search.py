"""Tuning of one method by an effort: trials asked for by the rule in ``bracket``, started, taken in, chosen.

The records are the truth: told again, in whatever order, they lead to the same trials, so a study that was killed goes
on where it stood. Settings searched beside the rate are compared by short trials at the best short rate, within the
same offer; the best of them is bracketed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, Protocol

from peftscope.analysis.tuning import Trial, Tuning
from peftscope.schema.effort import Effort
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import TuningSpec
from peftscope.tuning.bracket import Ask, Choice, End, Seen, choose, next_asks, rate_at, start_index
from peftscope.tuning.job import Job
from peftscope.tuning.search_space import MAX_KILLS, SearchSpace

__all__ = ["BracketSearch", "MakeRun"]

Origin = Literal["grid", "growth", "refinement", "repeat", "sampled"]
FIRST = 3
"""Short trials around the start."""
LIKELY_SHORT, LIKELY_RATES = 4, 3
"""Short trials, and rates trained to the end, that most methods come to."""


class MakeRun(Protocol):
    """A trial's run from its learning rate, the settings searched beside it and its seed."""

    def __call__(self, rate: float, knobs: Mapping[str, Any], seed: int, *, has_rungs: bool) -> RunSpec: ...


@dataclass
class _Entry:
    """A trial on its way."""

    ask: Ask
    run: RunSpec
    knobs: Mapping[str, Any]
    origin: Origin
    is_short: bool
    """Begun as a short trial, which a full one at the same rate goes on from."""
    until: int | None
    """Rung the start it was last given leads to; None where that is the end."""
    record: RunRecord | None = None
    """What that start left behind; None while it is waited for."""
    num_kills: int = 0

    @property
    def job(self) -> Job:
        """The job it was last given."""
        return Job(run=self.run, until=self.until)

    def rung_loss(self) -> float:
        """Validation loss at the first rung; at the end where the training is too short for one."""
        assert self.record is not None
        if not self.run.rungs:
            return self.end_loss()
        points = (p.valid_loss for p in self.record.curve if p.step == self.run.rungs[0])
        return _finite(next(points, None))

    def end_loss(self) -> float:
        assert self.record is not None
        return _finite(self.record.metrics.get("valid_loss") if self.record.status == "ok" else None)


class BracketSearch:
    """The tuning of one method; given records, it says which jobs come next.

    Args:
        method: Its title in the study.
        space: What is searched, and where the search begins.
        tuning: With an effort.
        make_run: A trial's run.
        higher_is_better: Direction of the task's score.
    """

    def __init__(
        self, method: str, space: SearchSpace, tuning: TuningSpec, make_run: MakeRun, *, higher_is_better: bool = True
    ) -> None:
        assert tuning.protocol is not None
        self.method, self.tuning, self.make_run = method, tuning, make_run
        self.effort: Effort = tuning.protocol
        self.sign = 1.0 if higher_is_better else -1.0
        self.entries: list[_Entry] = []
        self.is_refused = False
        self.is_over = False
        self._start_index = start_index(space.centre)
        self._knobs = _candidates(space.knobs, self.effort.num_short - FIRST, tuning.seed)
        self._are_knobs_chosen = len(self._knobs) == 1
        self._chosen_knobs = self._knobs[0]
        self._due: list[Job] = []
        self._advance()

    @property
    def num_trials(self) -> int:
        """Trials that are known, and those that are likely to come."""
        return len(self.entries) + sum(self._likely())

    def due(self) -> list[Job]:
        """Starts that can be made now; each is given once."""
        given, self._due = self._due, []
        return given

    def upcoming(self) -> list[Job]:
        """Starts that are likely to follow those given."""
        short, full = self._likely()
        run = self.entries[0].run
        first = run.rungs[0] if run.rungs else None
        return [Job(run=run, until=first)] * short + [Job(run=run.model_copy(update={"rungs": ()}))] * full

    def tell(self, record: RunRecord) -> None:
        """Take in what a start left behind; a trial that something killed is started again."""
        entry = next(entry for entry in self.entries if entry.run.run_id == record.run_id)
        if record.status == "killed" and not entry.job.is_reached_by(record):
            entry.num_kills += 1
            if entry.num_kills < MAX_KILLS:
                self._begin(entry, entry.until)
                return
        entry.record = record
        if all(entry.record is not None for entry in self.entries):
            self._advance()  # what comes next follows from all of a stage, in whatever order they ended

    def result(self) -> Tuning:
        """What it came to so far."""
        choice = choose(self._seen(), self.effort) if self.is_over else None
        chosen = None if choice is None else self._entry(Ask(choice.index))
        return Tuning(
            method=self.method,
            num_offered=self.effort.num_short + self.effort.num_full,
            effort=self.effort,
            trials=tuple(_trial(number, entry) for number, entry in enumerate(self.entries)),
            chosen=None if chosen is None else _trial(self.entries.index(chosen), chosen),
            learning_rate=None if choice is None else choice.rate,
            edge=None if choice is None else choice.edge,
            bracket=(None, None) if choice is None else self._bracket(choice),
            by_score=choice is not None and choice.by_score,
        )

    def _likely(self) -> tuple[int, int]:
        if self.is_over or self.is_refused:
            return 0, 0
        short = sum(entry.is_short for entry in self.entries)
        full = sum(entry.until is None for entry in self.entries)
        # the middle of a bracket was a short trial before
        new = LIKELY_RATES + 2 * (self.effort.num_seeds - 1) - 1
        return max(0, LIKELY_SHORT + len(self._knobs) - 1 - short) if not full else 0, max(0, new - full)

    def _advance(self) -> None:
        """All that was started has ended: what follows?"""
        if self.entries and all(e.record is not None and e.record.status == "refused" for e in self.entries):
            self.is_refused = self.is_over = True  # no learning rate makes a method fit a model it does not fit
            return
        seen, offer = self._seen(), self._offer_of_rates
        asks = next_asks(seen, offer, self._start_index)
        if all(ask.full for ask in asks) and not self._are_knobs_chosen:
            if self._compare_knobs(seen):
                return
            self._choose_knobs()
            seen = self._seen()
            asks = next_asks(seen, offer, self._start_index)
        for ask in asks:
            self._offer(ask, self._chosen_knobs, self._origin(ask, seen))
        self.is_over = not asks

    @property
    def _offer_of_rates(self) -> Effort:
        """The offer less the short trials that compare settings."""
        return replace(self.effort, num_short=self.effort.num_short - len(self._knobs) + 1)

    def _compare_knobs(self, seen: Seen) -> bool:
        """Start the other settings at the best short rate; False where that was done already, or every rate failed."""
        if all(math.isinf(loss) for loss in seen.rung.values()) or any(e.origin == "sampled" for e in self.entries):
            return False
        best = min(seen.rung, key=lambda index: (seen.rung[index], index))
        for knobs in self._knobs[1:]:
            self._offer(Ask(best), knobs, "sampled")
        return True

    def _choose_knobs(self) -> None:
        """Settings of the lowest loss at the rung go on."""
        self._are_knobs_chosen = True
        sampled = [entry for entry in self.entries if entry.origin == "sampled"]
        if not sampled:
            return
        index = sampled[0].ask.index
        rivals = [e for e in self.entries if e.is_short and e.ask.index == index and e.ask.seed_number == 0]
        self._chosen_knobs = min(rivals, key=lambda e: (e.rung_loss(), self._knobs.index(e.knobs))).knobs

    def _offer(self, ask: Ask, knobs: Mapping[str, Any], origin: Origin) -> None:
        entry = self._entry(ask, knobs)
        if entry is not None:  # a short trial goes on to the end
            self._begin(entry, None)
            return
        seed = self.tuning.seeds[ask.seed_number]
        run = self.make_run(rate_at(ask.index), knobs, seed, has_rungs=not ask.full)
        self.entries.append(_Entry(ask=ask, run=run, knobs=knobs, origin=origin, is_short=not ask.full, until=None))
        self._begin(self.entries[-1], run.rungs[0] if not ask.full and run.rungs else None)

    def _begin(self, entry: _Entry, until: int | None) -> None:
        entry.record, entry.until = None, until
        self._due.append(entry.job)

    def _entry(self, ask: Ask, knobs: Mapping[str, Any] | None = None) -> _Entry | None:
        """The trial of a rate and a seed with the settings that are bracketed, or others."""
        knobs = self._chosen_knobs if knobs is None else knobs
        place = (ask.index, ask.seed_number)
        found = (e for e in self.entries if (e.ask.index, e.ask.seed_number) == place and e.knobs == knobs)
        return next(found, None)

    def _seen(self) -> Seen:
        """Losses so far. Where settings were compared, the short trials of the first led to the rate."""
        ended = [entry for entry in self.entries if entry.record is not None]
        rung = {e.ask.index: e.rung_loss() for e in ended if e.is_short and e.knobs == self._knobs[0]}
        end = {
            (e.ask.index, e.ask.seed_number): End(loss=e.end_loss(), scores=self._scores(e))
            for e in ended
            if e.knobs == self._chosen_knobs and self._is_full(e)
        }
        return Seen(rung=rung, end=end)

    def _is_full(self, entry: _Entry) -> bool:
        """Whether a trial went to the end, or failed on the way there."""
        assert entry.record is not None
        return (entry.until is None and entry.record.status != "eliminated") or not entry.is_short

    def _scores(self, entry: _Entry) -> tuple[float, ...]:
        """Each example's score, higher being better, its draws' mean; empty where the trial has none."""
        assert entry.record is not None
        found: dict[str, list[float]] = {}
        for example in entry.record.examples:
            found.setdefault(str(example.example_id), []).append(self.sign * example.score)
        return tuple(sum(scores) / len(scores) for scores in found.values())

    def _origin(self, ask: Ask, seen: Seen) -> Origin:
        if ask.seed_number:
            return "repeat"
        if ask.full:
            return "refinement"
        return "growth" if seen.rung else "grid"

    def _bracket(self, choice: Choice) -> tuple[float | None, float | None]:
        open_low, open_high = choice.edge in ("lowest", "both"), choice.edge in ("highest", "both")
        lower = None if open_low else rate_at(choice.index - 1)
        return lower, None if open_high else rate_at(choice.index + 1)


def _candidates(knobs: Mapping[str, Any], most: int, seed: int) -> list[Mapping[str, Any]]:
    """Combinations of the settings, the first of each first; of many, as many as the offer takes, drawn by seed."""
    every = [dict(zip(knobs, values)) for values in product(*knobs.values())]
    first, others = every[0], every[1:]
    if len(others) > most:
        others = random.Random(seed).sample(others, most)
    return [first, *others]


def _finite(loss: float | int | None) -> float:
    return float(loss) if loss is not None and math.isfinite(loss) else math.inf


def _trial(number: int, entry: _Entry) -> Trial:
    record = entry.record
    metrics = record.metrics if record else {}
    return Trial(
        number=number,
        learning_rate=rate_at(entry.ask.index),
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
