"""What a study's final runs say: estimates with intervals, a verdict on each pair, tiers.

Every interval is conditional on the frozen configuration: it says what other seeds and other test examples would
have given, not what another tuning would have chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.tuning import Edge
from peftscope.schema.elimination import Elimination
from peftscope.schema.metric import MetricSpec

if TYPE_CHECKING:  # they take SciPy, which a look at a study's progress can do without
    from peftscope.analysis.pooling import Pooled
    from peftscope.analysis.power import More

__all__ = ["Candidate", "FailedRun", "MetricSummary", "Pair", "PairVerdict", "Verdict"]

PairVerdict = Literal["better", "worse", "equivalent", "undecided"]
"""Of the first against the second of a pair."""


@dataclass(frozen=True, kw_only=True)
class MetricSummary:
    """A measured quantity over the seeds of a method."""

    mean: float
    low: float
    """Smallest over the seeds."""
    high: float
    num_runs: int
    deviation: float | None = None
    """Standard deviation over the seeds; None with one."""


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A final run that did not end with a score."""

    status: str
    reason: str

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A method at its frozen configuration; the untouched base is one too."""

    method: str
    """Title in the study."""
    card: str
    """Name of the card."""
    is_base: bool = False
    learning_rate: float | None = None
    num_seeds: int = 0
    """Seeds with a score."""
    num_collapsed: int = 0
    """Seeds among them whose score is far below the best one's (``outcomes``)."""
    num_examples: int = 0
    failures: tuple[FailedRun, ...] = ()
    """Final runs that failed."""
    score: Estimate | None = None
    """In the task metric's own unit; None where no run has a score."""
    pooled: Estimate | None = None
    """The same where it is known that this one was picked among many (``pooling``); None where they are too few."""
    best_chance: float | None = None
    """Probability of being the best of all that were not eliminated; None for those, and where methods are too few."""
    gain: Estimate | None = None
    """Over the base, positive is better."""
    metrics: Mapping[str, MetricSummary] = field(default_factory=dict)
    """Every other metric that was measured, by name."""
    tier: int | None = None
    """1 is the top tier; None without a score or without an interval."""
    single: bool = False
    """One training without scores per example: no interval can be given."""
    edge: Edge | None = None
    """Side on which tuning found no worse learning rate: a better one may lie beyond, and the method is understated.
    None where the rate is bracketed, and without tuning."""
    bracket: tuple[float | None, float | None] = (None, None)
    """The next lower and the next higher learning rate that turned out worse in tuning."""
    eliminated: Elimination | None = None
    """What ended its trainings early: it is in no pair and no tier, on no front and never recommended."""

    @property
    def num_diverged(self) -> int:
        """Final runs that diverged: an outcome of training, which kills and full disks are not."""
        return sum(failure.status == "diverged" for failure in self.failures)

    @property
    def num_trainings(self) -> int:
        """Final runs with an outcome: a score, or divergence."""
        return self.num_seeds + self.num_diverged

    @property
    def num_wrong(self) -> int:
        """Trainings that diverged or collapsed."""
        return self.num_diverged + self.num_collapsed


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two methods on the same test examples."""

    first: str
    second: str
    difference: Estimate
    """First minus second, turned so that positive means the first is better."""
    p_value: float | None
    """Two-sided, of no difference."""
    p_adjusted: float | None
    """The same, corrected over all pairs (``familywise``) and looks (``looks``)."""
    p_equivalent: float | None
    """Of a difference as large as the margin (two one-sided tests), corrected over all pairs and looks."""
    verdict: PairVerdict
    superiority: float | None
    """Probability that a new training of the first scores higher than one of the second, on the same examples."""
    by_steady: bool = False
    """The difference is of the trainings that went right: it is the clearer one, and the better method goes wrong
    no more often."""
    more_seeds: More | None = None
    """Undecided pairs: about how many more seeds of each would most likely decide it, and how; None where no
    affordable number would."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the final runs of a study say."""

    metric: MetricSpec
    margin: float | None
    """Difference that does not matter to the user, in the metric's unit; None where no equivalence is declared."""
    level: float
    candidates: tuple[Candidate, ...]
    """The base first, then best score first, then those without a score."""
    pairs: tuple[Pair, ...]
    """Every two candidates that were trained twice or more, or not at all; first is the one of higher score. Those
    that were eliminated are in none."""
    tiers: tuple[tuple[str, ...], ...]
    """Methods, top tier first: none of a tier is detectably worse than the best of it."""
    notes: tuple[str, ...] = ()
    """What a reader must know: what intervals are conditional on, single runs, seeds that are missing."""
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    """Of the scores that have an interval, by method."""
    pooled: Pooled | None = field(default=None, repr=False, compare=False)
    """Draws of the true scores of the same methods."""

    @property
    def in_question(self) -> tuple[Candidate, ...]:
        """Candidates that have a score and were not eliminated, the base among them."""
        return tuple(c for c in self.candidates if c.score is not None and c.eliminated is None)

    @property
    def eliminations(self) -> tuple[Elimination, ...]:
        """What a race ended, in the order of the candidates."""
        return tuple(c.eliminated for c in self.candidates if c.eliminated is not None)

    @property
    def understated(self) -> tuple[str, ...]:
        """Methods whose learning rate tuning did not bracket: they are never called worse, while their wins stand."""
        return tuple(candidate.method for candidate in self.candidates if candidate.edge is not None)

    def pair(self, first: str, second: str) -> Pair | None:
        """The pair of two methods in that order, turned round where it is kept the other way; None if there is none."""
        kept = self._pairs_by_methods.get((first, second))
        if kept is None and (other := self._pairs_by_methods.get((second, first))) is not None:
            return _turned(other)
        return kept

    @cached_property
    def _pairs_by_methods(self) -> dict[tuple[str, str], Pair]:
        return {(pair.first, pair.second): pair for pair in self.pairs}

    def candidate(self, method: str) -> Candidate:
        """The candidate of that title.

        Raises:
            KeyError: There is none.
        """
        for candidate in self.candidates:
            if candidate.method == method:
                return candidate
        raise KeyError(method)


def _turned(pair: Pair) -> Pair:
    around: dict[PairVerdict, PairVerdict] = {"better": "worse", "worse": "better"}
    difference = pair.difference
    low, high = difference.low, difference.high
    return Pair(
        first=pair.second,
        second=pair.first,
        difference=Estimate(-difference.value, None if high is None else -high, None if low is None else -low),
        p_value=pair.p_value,
        p_adjusted=pair.p_adjusted,
        p_equivalent=pair.p_equivalent,
        verdict=around.get(pair.verdict, pair.verdict),
        superiority=None if pair.superiority is None else 1.0 - pair.superiority,
        by_steady=pair.by_steady,
        more_seeds=pair.more_seeds,
    )
