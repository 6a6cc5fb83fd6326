"""Where the runs of a study stand, kept from what a listener is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peftscope.execution.eta import Eta, remaining
from peftscope.execution.events import Listener
from peftscope.schema.live import RunState
from peftscope.schema.record import NOT_FAILED, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.tuning.job import Job
from peftscope.views.line import span_text
from peftscope.views.units import seconds_text

__all__ = ["Counts", "Tally", "UnderWay", "counts_text", "eta_text", "found_text"]

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Runs of a study by where they stand."""

    done: int
    running: int
    failed: int
    waiting: int

    @property
    def total(self) -> int:
        return self.done + self.running + self.failed + self.waiting


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """A run under way, as it was last told of."""

    spec: RunSpec
    state: RunState
    started: float
    """By the tally's clock."""
    heard: float
    """When the state was told."""

    def at(self, now: float) -> RunState:
        """The state with the time gone by since."""
        return self.state.model_copy(update={"elapsed_s": self.state.elapsed_s + max(0.0, now - self.heard)})


class Tally(Listener):
    """Keeps count; displays derive from it."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.num_runs = 0
        """Runs of the study in all, those to come included."""
        self.to_come: list[Job] = []
        self.under_way: dict[str, UnderWay] = {}
        self.finished: dict[str, RunRecord] = {}
        self.num_workers = 1
        self.is_stopping = False
        self._is_priced = False

    def planned(self, runs: Sequence[RunSpec], found: Sequence[RunRecord], num_workers: int) -> None:
        self.num_runs = max(self.num_runs, len({run.run_id for run in runs}))  # one asked for twice is one
        self.finished = {record.run_id: record for record in found}
        self.num_workers = num_workers

    def upcoming(self, jobs: Sequence[Job], num_runs: int) -> None:
        self.to_come, self.num_runs = list(jobs), num_runs

    def started(self, run: RunSpec, state: RunState) -> None:
        now = self.clock()
        self.finished.pop(run.run_id, None)  # a trial that goes on after a pause
        self.under_way[run.run_id] = UnderWay(spec=run, state=state, started=now, heard=now)

    def moved(self, run: RunSpec, state: RunState) -> None:
        now = self.clock()
        before = self.under_way.get(run.run_id)
        started = before.started if before else now
        self.under_way[run.run_id] = UnderWay(spec=run, state=state, started=started, heard=now)

    def ended(self, run: RunSpec, record: RunRecord) -> None:
        self.under_way.pop(run.run_id, None)
        self.finished[run.run_id] = record

    def stopping(self) -> None:
        self.is_stopping = True

    def first_step(self) -> str:
        """What the first step that was measured says of the whole; once, and nothing before."""
        if self._is_priced:
            return ""
        timed = [
            e.state.step_time_s for e in self.under_way.values() if e.state.step and e.state.step_time_s is not None
        ]
        eta = self.eta() if timed else None
        if eta is None:
            return ""
        self._is_priced = True
        whole = f"{'over ' if eta.at_least else 'about '}{span_text(eta.seconds)}"
        left = self.num_runs - self.num_over
        runs = "the run" if left == 1 else f"the {left} runs to do"
        return f"a step takes {seconds_text(timed[0])}: {whole} for {runs}"

    @property
    def num_over(self) -> int:
        """Runs that have ended, well or not."""
        return len(self.finished)

    def took_s(self, run: RunSpec) -> float | None:
        """Seconds since a run started, by this process's clock."""
        entry = self.under_way.get(run.run_id)
        return None if entry is None else self.clock() - entry.started

    def counts(self) -> Counts:
        """Runs by where they stand."""
        done = sum(record.status in NOT_FAILED for record in self.finished.values())
        failed = len(self.finished) - done
        running = len(self.under_way)
        return Counts(
            done=done, failed=failed, running=running, waiting=max(0, self.num_runs - done - failed - running)
        )

    def eta(self) -> Eta | None:
        """Time to the study's end; None while unknown, or once the user has asked to stop."""
        if self.is_stopping:
            return None
        now = self.clock()
        return remaining(
            waiting=self.to_come,
            under_way=[(entry.spec, entry.at(now)) for entry in self.under_way.values()],
            finished=list(self.finished.values()),
            num_workers=self.num_workers,
        )


def counts_text(counts: Counts) -> str:
    """Counts in words; what there is none of is left out, but for what is done.

    >>> counts_text(Counts(done=3, running=2, failed=0, waiting=4))
    '3 done · 2 running · 4 to do'
    """
    rest = ((counts.running, "running"), (counts.failed, "failed"), (counts.waiting, "to do"))
    return " · ".join([f"{counts.done} done", *(f"{number} {word}" for number, word in rest if number)])


def eta_text(eta: Eta | None) -> str:
    """When the study ends, in words; nothing while nothing is known.

    >>> eta_text(Eta(seconds=720)), eta_text(Eta(seconds=720, at_least=True)), eta_text(None)
    ('ETA 12 min', 'ETA over 12 min', '')
    """
    if eta is None or (eta.at_least and eta.seconds < 1):
        return ""
    return f"ETA {'over ' if eta.at_least else ''}{span_text(eta.seconds)}"


def found_text(found: Sequence[RunRecord], num_runs: int) -> str:
    """One line on the runs that were done before; nothing where there are none."""
    if not found:
        return ""
    failed = [record.status for record in found if record.status not in NOT_FAILED]
    kinds = ", ".join(f"{failed.count(kind)} {kind}" for kind in dict.fromkeys(failed))
    if num_runs == 1:
        text = "the run is done already"
    else:
        number = f"all {num_runs}" if len(found) >= num_runs else f"{len(found)} of {num_runs}"
        text = f"{number} runs {'is' if len(found) == 1 else 'are'} done already"
    return f"{text} ({kinds})" if kinds else text
