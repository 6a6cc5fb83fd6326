"""Which methods are eliminated at a look: those that one other is detectably better than on every metric.

A method may be the right one because it is good or because it is cheap, so it is dropped only where the same other
method beats it on its score and on everything that training takes (``cheap_of``: what limits call memory, time,
checkpoint): a low score at a low price stays. That is an intersection-union test (Berger, Technometrics 24, 1982): each
metric is tested one-sided at the whole level, since the claim is wrong as soon as one of them is.

- The score as the verdict tests it: paired over examples and seeds, each method's seed variance leaning on all.
- What the same run gives again (bytes) is compared as it is. What does not repeat (times) is tested on the logarithm,
  its spread over the seeds leaning on that of all methods, and so are bytes that differ over a method's seeds (peaks of
  an accelerator). Either must be worse by more than ``TOLERANCE``: nobody chooses by less, so a tie on one metric is
  enough to stay.
- Costs taken under different conditions are not compared, nor are methods of which a metric is missing.
- Where single trainings went wrong, a method that gained next to nothing stays: perhaps all of its own did.
- What else can be limited (forgetting, latency) is not tested, but a method that looks better there stays; so does one
  that can be merged, quantized or served where the other cannot.

Pairs are counted that abilities and costs which repeat let through, of methods scored with two seeds or more. No score
has a say in that, so Holm's step-down over them keeps to the level.

**The verdict after a race.** The race looks at test scores, and spends a share of the error of its own
(``seeds.RACE``), beside that of the verdict. Whoever is left has every seed, as without a race. Whoever is not is in no
pair of the verdict, but is still counted among the methods over which the verdict is corrected: otherwise those that
look alike would be picked out and then tested among few. So a false difference is either one of the race or one that
the verdict of the whole study would have had, and all of them together keep to the error. Simulated in
``benchmarks/racing.md``. Validation data are not raced on: trials measure neither memory nor checkpoint, their rates
are the best of several by the same data, and the rate that is frozen is often none of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from peftscope.analysis.answers import answers_in
from peftscope.analysis.crossed import mean_differences
from peftscope.analysis.distributions import t_tail
from peftscope.analysis.familywise import holm
from peftscope.analysis.moderated import moderated
from peftscope.analysis.outcomes import KEPT, Outcomes
from peftscope.analysis.study_verdict import trained_in
from peftscope.analysis.within_limits import SCORE, cheap_of, quantities_of
from peftscope.schema.elimination import Elimination, Worse
from peftscope.schema.metric import MetricSpec

__all__ = ["TOLERANCE", "Contest", "contest_of", "droppable_in", "eliminated_in", "has_tests"]

TOLERANCE = 0.01
"""Share of a cost within which two are the same."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What a look of a race knows."""

    outcomes: Outcomes | None
    """Of all methods; None where nobody knows a score yet, so that costs alone are asked."""
    metric: MetricSpec
    """The score."""
    costs: Mapping[MetricSpec, Mapping[str, Floats]]
    """What training takes -> by method, one value a run."""
    qualities: Mapping[MetricSpec, Mapping[str, float]] = field(default_factory=dict)
    """What else can be limited -> mean by method."""
    conditions: Mapping[str, str] = field(default_factory=dict)
    """Conditions of cost of each method's runs; a method with several or none is left out."""
    abilities: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """What each method can be asked to be able to."""
    spared: frozenset[str] = frozenset()
    """Never eliminated: a better learning rate may lie beyond what was tried."""
    raced: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Methods in the race, the base not among them -> their runs that are looked at, ended well or not."""


def contest_of(
    runs: pd.DataFrame,
    examples: pd.DataFrame | None,
    metric: MetricSpec,
    *,
    base: str,
    specs: Sequence[MetricSpec],
) -> Contest:
    """What final runs tell of it; who is in the race is for the caller to say.

    Args:
        runs: One row per run (``store.frame.frame_of``), of the seeds that are looked at.
        examples: One row per run, example and draw; None where costs alone are asked.
        metric: The task's score.
        base: Card name of the untouched base.
        specs: All metrics there may be a value of.
    """
    runs = _of_one_protocol(runs)
    good = runs[(runs["status"] == "ok") & (runs["card"] != base)]
    groups = {str(title): own for title, own in good.groupby("method", sort=False)}
    by_name = {spec.name: spec for spec in specs}
    cheap = cheap_of(specs)
    costs: dict[MetricSpec, dict[str, Floats]] = {}
    qualities: dict[MetricSpec, dict[str, float]] = {}
    for quantity, names in quantities_of(specs).items():
        spec = by_name.get(_most_measured(names, good) or "")
        if quantity in cheap:  # unmeasured by all: an empty column, on which nobody is worse
            spec = spec or next(spec for spec in specs if spec.limit == quantity)
            costs[spec] = {title: _values(own, spec.name) for title, own in groups.items()}
        elif quantity != SCORE and spec is not None:
            known_of = {title: _values(own, spec.name) for title, own in groups.items()}
            qualities[spec] = {title: float(values.mean()) for title, values in known_of.items() if len(values)}
    places = {title: set(own["cost_protocol"].fillna("")) for title, own in groups.items()}
    return Contest(
        outcomes=None if examples is None else _outcomes(runs, examples, metric, base),
        metric=metric,
        costs=costs,
        qualities=qualities,
        conditions={title: str(found.pop()) for title, found in places.items() if len(found) == 1 and found != {""}},
    )


def _outcomes(runs: pd.DataFrame, examples: pd.DataFrame, metric: MetricSpec, base: str) -> Outcomes | None:
    """None where no run has a score."""
    sign = _sign(metric)
    rows = {str(title): own for title, own in runs.groupby("method", sort=False)}
    answers = answers_in(runs, examples, bounded=metric.unit == "share", sign=sign)
    bases = list(runs.loc[runs["card"] == base, "method"].unique())
    trained = trained_in(rows, answers, bases, sign=sign)
    return None if trained is None else trained.outcomes


def droppable_in(contest: Contest) -> frozenset[str]:
    """Methods that some other may turn out better than on every metric, as far as exact costs and abilities tell."""
    return frozenset(one for one, _ in _pairs(contest))


def has_tests(contest: Contest) -> bool:
    """Whether a look tests anything: scores of too few seeds make no pair, and spend no error."""
    return bool(_testable_pairs(contest))


def eliminated_in(contest: Contest, alpha: float) -> list[Elimination]:
    """Methods that end here, in their order.

    Args:
        contest: What is known.
        alpha: Probability of any false claim at this look.
    """
    pairs, outcomes = _testable_pairs(contest), contest.outcomes
    if not pairs or outcomes is None:
        return []
    of_costs = [_cost_tails(spec, values, pairs) for spec, values in contest.costs.items()]
    worst = np.max([_score_tails(outcomes, pairs, _sign(contest.metric)), *of_costs], axis=0)
    adjusted = holm(worst)
    ended = {pair: float(p) for pair, p in zip(pairs, adjusted) if p <= alpha and _is_no_better(contest, *pair)}
    unlucky = _perhaps_unlucky(outcomes, _sign(contest.metric))
    ended = {pair: p for pair, p in ended.items() if pair[0] not in unlucky}
    losers = {one for one, _ in ended}
    found = []
    for method in contest.raced:
        own = [(other in losers, p, other) for (one, other), p in ended.items() if one == method]
        if own:  # named is one that stays, where there is one
            _, p_value, by = min(own)
            found.append(_elimination(contest, method, by, p_value))
    return found


def _pairs(contest: Contest) -> list[tuple[str, str]]:
    """Method and the other that may be better than it on everything, by abilities and costs alone."""
    return [
        (one, other)
        for one in contest.raced
        for other in contest.raced
        if one != other
        and one not in contest.spared
        and contest.conditions.get(one, "") == contest.conditions.get(other)
        and contest.abilities.get(one, frozenset()) <= contest.abilities.get(other, frozenset())
        and all(_may_be_worse(spec, values, one, other) for spec, values in contest.costs.items())
    ]


def _testable_pairs(contest: Contest) -> list[tuple[str, str]]:
    """Of these, pairs whose scores can be tested."""
    if contest.outcomes is None:
        return []
    names = contest.outcomes.whole.names
    scored = {names[i] for i in contest.outcomes.comparable}
    return [pair for pair in _pairs(contest) if scored.issuperset(pair)]


def _may_be_worse(spec: MetricSpec, values: Mapping[str, Floats], one: str, other: str) -> bool:
    """Worse beyond the tolerance where runs give the same again; else, whether it can be tested at all."""
    own, against = values.get(one, np.empty(0)), values.get(other, np.empty(0))
    if not len(own) or not len(against) or min(own.min(), against.min()) <= 0.0:
        return False
    return not _repeats(spec, own, against) or _excess(spec, own, against) > 0.0


def _repeats(spec: MetricSpec, *found: Floats) -> bool:
    """Whether runs give the same again, by what the metric says and within the tolerance by what they gave."""
    return spec.repeats and all(values.max() <= (1.0 + TOLERANCE) * values.min() for values in found)


def _excess(spec: MetricSpec, own: Floats, against: Floats) -> float:
    """By how much the first is worse beyond the tolerance, on the scale of logarithms."""
    apart = float(np.log(own).mean() - np.log(against).mean())
    return (-apart if spec.direction == "higher" else apart) - math.log1p(TOLERANCE)


def _score_tails(outcomes: Outcomes, pairs: Sequence[tuple[str, str]], sign: float) -> Floats:
    """P-values of the first scoring no worse than the second, shape (P,)."""
    place = {name: i for i, name in enumerate(outcomes.whole.names)}
    worse, better = (np.array([place[pair[side]] for pair in pairs], np.int64) for side in (0, 1))
    of = mean_differences(outcomes.whole, better, worse)
    known = of.errors > 0.0
    steps = np.where(known, sign * of.centres / np.where(known, of.errors, 1.0), 0.0)
    return np.asarray(t_tail(steps, of.degrees), np.float64)


def _cost_tails(spec: MetricSpec, values: Mapping[str, Floats], pairs: Sequence[tuple[str, str]]) -> Floats:
    """P-values of the first taking no more than the second, but for the tolerance; 0 where both repeat; shape (P,)."""
    names = [name for name, own in values.items() if len(own) and own.min() > 0.0]
    counts = np.array([len(values[name]) for name in names])
    own = np.array([np.log(values[n]).var(ddof=1) if len(values[n]) > 1 else np.nan for n in names])
    found = moderated(own, np.where(np.isfinite(own), counts - 1.0, 0.0))
    spread = {n: (v / c, d) for n, v, c, d in zip(names, found.variances, np.maximum(counts, 1), found.degrees)}
    tails = []
    for one, other in pairs:
        if _repeats(spec, values[one], values[other]):  # worse as it stands, or it were no pair
            tails.append(0.0)
            continue
        parts = [spread[one], spread[other]]
        variance = sum(part for part, _ in parts)
        if any(degrees == 0.0 for _, degrees in parts) or variance == 0.0:
            tails.append(1.0)
            continue
        degrees = min(variance**2 / sum(part**2 / degrees for part, degrees in parts), found.total)
        tails.append(float(t_tail(_excess(spec, values[one], values[other]) / math.sqrt(variance), degrees)))
    return np.array(tails)


def _is_no_better(contest: Contest, one: str, other: str) -> bool:
    """Whether the first looks better on nothing else that a user may limit."""
    for spec, means in contest.qualities.items():
        if (one in means) != (other in means):
            return False
        if one in means:
            gain = means[other] - means[one] if spec.direction == "lower" else means[one] - means[other]
            if gain > TOLERANCE * abs(means[other]):
                return False
    return True


def _perhaps_unlucky(outcomes: Outcomes, sign: float) -> frozenset[str]:
    """Methods that gained next to nothing in a study in which single trainings collapsed or diverged.

    Two trainings that both went wrong look alike, and nothing of their own tells of it.
    """
    whole = outcomes.whole
    has_floor = whole.fixed.any() or (whole.bounded and sign > 0.0)
    if not has_floor or not (outcomes.collapsed + outcomes.diverged).any():
        return frozenset()
    floor = float(whole.means[whole.fixed][0]) if whole.fixed.any() else 0.0
    gains = sign * (whole.means - floor)
    return frozenset(name for name, gain in zip(whole.names, gains) if gain < KEPT * gains.max())


def _elimination(contest: Contest, method: str, by: str, p_value: float) -> Elimination:
    assert contest.outcomes is not None
    whole = contest.outcomes.whole
    one, other = whole.names.index(method), whole.names.index(by)
    of_costs = [
        Worse(metric=spec, value=float(values[method].mean()), other=float(values[by].mean()))
        for spec, values in contest.costs.items()
    ]
    score = Worse(metric=contest.metric, value=float(whole.means[one]), other=float(whole.means[other]))
    return Elimination(
        method=method,
        by=by,
        worse=(score, *of_costs),
        p_value=p_value,
        run_ids=contest.raced[method],
        by_run_ids=contest.raced[by],
    )


def _of_one_protocol(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs under the commonest conditions of quality, and those that ended before they had any."""
    known = runs.loc[runs["status"] == "ok", "quality_protocol"].dropna()
    if known.nunique() < 2:
        return runs
    kept: pd.DataFrame = runs[runs["quality_protocol"].isna() | (runs["quality_protocol"] == known.mode().iloc[0])]
    return kept


def _most_measured(names: Collection[str], runs: pd.DataFrame) -> str | None:
    counts = {name: int(runs[name].notna().sum()) for name in names if name in runs}
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] else None


def _values(runs: pd.DataFrame, name: str) -> Floats:
    found = runs[name].dropna() if name in runs else ()
    return np.asarray(found, np.float64)


def _sign(metric: MetricSpec) -> float:
    return -1.0 if metric.direction == "lower" else 1.0
