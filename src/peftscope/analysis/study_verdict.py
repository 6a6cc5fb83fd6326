"""From the final runs of a study to its verdict."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from peftscope.analysis.answers import Answers, answers_in
from peftscope.analysis.criteria import Criteria, criteria_for
from peftscope.analysis.crossed import Crossed
from peftscope.analysis.estimates import Estimate
from peftscope.analysis.intervals import mean_intervals
from peftscope.analysis.looks import TrainedMethods
from peftscope.analysis.outcomes import Outcomes, Training
from peftscope.analysis.pairs import gains_of, pairs_of
from peftscope.analysis.pooling import Pooled, pooled
from peftscope.analysis.tiers import tiers_of
from peftscope.analysis.tuning import Tuning
from peftscope.analysis.verdict import Candidate, FailedRun, MetricSummary, Pair, Verdict
from peftscope.schema.metric import MetricSpec
from peftscope.schema.seeds import Looks

__all__ = ["final_runs", "judge", "trained_in"]

SEED = 0
"""Of the draws behind pooled scores and tiers."""

HEAVY_TAIL_SHARE = 0.1
"""Part of a mean that the largest hundredth of the examples make up, from which it is said."""

FEW_GROUPS = 20
"""Of related examples, below which a word of caution is said."""

DIVERGED = "diverged"
"""Status of a run whose training gave no numbers: an outcome of the method."""

NOT_FIGURES = frozenset({"learning_rate", "seed", "num_attempts", "num_test_examples"})

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Group:
    """The final runs of one candidate."""

    title: str
    card: str
    rate: float | None
    all_runs: pd.DataFrame
    failed: tuple[FailedRun, ...]

    @property
    def runs(self) -> pd.DataFrame:
        """Those that ended."""
        return self.all_runs[self.all_runs["status"] == "ok"]


@dataclass(frozen=True, kw_only=True)
class _Evidence:
    """What the trainings with scores say; empty where there are none."""

    outcomes: Outcomes | None = None
    intervals: Mapping[str, Estimate] = field(default_factory=dict)
    gains: Mapping[str, Estimate] = field(default_factory=dict)
    errors: Mapping[str, float] = field(default_factory=dict)
    draws: Pooled | None = None
    pairs: tuple[Pair, ...] = ()
    tiers: tuple[tuple[str, ...], ...] = ()

    def without(self, eliminated: Collection[str]) -> _Evidence:
        """Without pairs and tiers of those that a race has judged, which it was corrected over all the same."""
        tiers = (tuple(name for name in names if name not in eliminated) for names in self.tiers)
        return replace(
            self,
            pairs=tuple(pair for pair in self.pairs if not {pair.first, pair.second} & set(eliminated)),
            tiers=tuple(names for names in tiers if names),
        )

    def sparing(self, understated: Collection[str]) -> _Evidence:
        """Without verdicts against methods whose learning rate is not bracketed, and in no lower tier."""
        lower = (tuple(name for name in names if name not in understated) for names in self.tiers[1:])
        return replace(
            self,
            pairs=tuple(_spared(pair, understated) for pair in self.pairs),
            tiers=(*self.tiers[:1], *(names for names in lower if names)),
        )


def judge(
    runs: pd.DataFrame,
    examples: pd.DataFrame,
    metric: MetricSpec,
    *,
    base: str,
    tunings: Sequence[Tuning] = (),
    criteria: Criteria | None = None,
) -> Verdict:
    """What the final runs of a study say about its methods; the method stands in ``crossed``, ``pairs``, ``tiers``.

    Args:
        runs: One row per run (``store.frame.frame_of``), all of one quality protocol; trials are passed over. A
            column ``num_test_examples``, where there is one, tells how many answers a single run's score is of.
        examples: One row per run, example and draw (``store.frame.examples_of``).
        metric: The task's score.
        base: Card name of the untouched base.
        tunings: What tuning came to. A method whose learning rate is not bracketed is understated: it is never
            called worse, and in no tier but the top one.
        criteria: What verdicts are held to; None for ``criteria_for`` the metric.
    """
    runs = final_runs(runs)
    protocols = set(runs["quality_protocol"].dropna()) if "quality_protocol" in runs else set()
    assert len(protocols) <= 1, f"scores of {len(protocols)} quality protocols cannot be ranked together"
    criteria = criteria or criteria_for(metric)
    looks = criteria.looks or Looks(seeds=(tuple(map(int, runs["seed"].unique())),))
    sign = -1.0 if metric.direction == "lower" else 1.0
    answers = answers_in(runs, examples, bounded=metric.unit == "share", sign=sign)
    notes = list(answers.notes)
    groups = _groups(runs, answers.by_run, notes)
    trained = trained_in({g.title: g.all_runs for g in groups}, answers, _bases(groups, base), sign=sign)
    evidence = _Evidence()
    if trained is not None:
        out = frozenset(elimination.method for elimination in criteria.eliminations)
        evidence = _evidence(replace(trained, eliminated=out), criteria, looks).without(out)
        notes += _notes(trained.outcomes, {g.title: len(g.all_runs) for g in groups})
        notes += _look_notes(trained.outcomes.whole, looks, criteria.level)
    tuned = {tuning.method: tuning for tuning in tunings if tuning.edge is not None or tuning.is_bracketed}
    evidence = evidence.sparing({g.title for g in groups if g.title in tuned and tuned[g.title].edge is not None})
    candidates = [_candidate(g, evidence, tuned.get(g.title), is_base=g.card == base) for g in groups]
    ended = {elimination.method: elimination for elimination in criteria.eliminations}
    candidates = [replace(c, eliminated=ended.get(c.method)) for c in candidates]
    draws = evidence.draws
    if draws is not None and draws.shrunk:
        best = draws.best_chances(sign, among={c.method for c in candidates if c.eliminated is None})
        candidates = [
            replace(c, pooled=draws.estimate(c.method, criteria.level), best_chance=best.get(c.method))
            if c.method in draws.names
            else c
            for c in candidates
        ]
    notes += _open_notes(candidates)
    single = [c.method for c in candidates if c.single]
    if single:
        notes.append(f"single runs without scores per example, so without an interval: {', '.join(single)}")
    return Verdict(
        metric=metric,
        margin=criteria.margin,
        level=criteria.level,
        candidates=tuple(sorted(candidates, key=lambda c: _rank(c, sign))),
        pairs=evidence.pairs,
        tiers=evidence.tiers,
        notes=tuple(notes),
        standard_errors=evidence.errors,
        pooled=draws,
    )


def _evidence(trained: TrainedMethods, criteria: Criteria, looks: Looks) -> _Evidence:
    outcomes, sign, level = trained.outcomes, trained.sign, criteria.level
    crossed = outcomes.whole
    found = _Evidence(
        outcomes=outcomes,
        intervals=dict(zip(crossed.names, mean_intervals(crossed, level))),
        gains=_gains(crossed, sign=sign, level=level),
        draws=pooled(crossed, np.random.default_rng(SEED)),
    )
    if found.draws is None:
        return found
    tiers: tuple[tuple[str, ...], ...] = ()
    if len(outcomes.comparable) > crossed.fixed.sum():
        compared = crossed.among(outcomes.comparable)
        strict = criteria.at_share(min(looks.shares)).level
        tiers = tiers_of(compared, sign=sign, level=strict, generator=np.random.default_rng(SEED))
    return replace(
        found,
        pairs=pairs_of(
            outcomes,
            found.draws,
            criteria,
            sign=sign,
            looks=trained.at(looks),
            next_share=looks.share_of_the_next,
        ),
        tiers=tiers,
        errors=dict(zip(crossed.names, map(float, np.sqrt(np.diag(crossed.covariance))))),
    )


def trained_in(
    runs: Mapping[str, pd.DataFrame], answers: Answers, bases: Sequence[str], *, sign: float
) -> TrainedMethods | None:
    """Trainings of candidates by title, those without scores left out; None where none has any."""
    trainings: dict[str, list[Training]] = {}
    for title, rows in runs.items():
        found = []
        for run_id, seed, status in zip(rows["run_id"], rows["seed"], rows["status"]):
            if run_id in answers.by_run:
                found.append(Training(seed=int(seed), scores=np.asarray(answers.by_run[run_id], np.float64)))
            elif status == DIVERGED:
                found.append(Training(seed=int(seed), scores=None))
        if any(training.scores is not None for training in found):
            trainings[title] = found
    if not trainings:
        return None
    fixed = [name for name in bases if name in trainings]
    return TrainedMethods(trainings=trainings, fixed=fixed, sign=sign, groups=answers.groups)


def final_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Those that are not trials; one asked for twice is one run."""
    runs = runs.drop_duplicates("run_id")
    return runs[runs["purpose"] == "final"] if "purpose" in runs else runs


def _groups(runs: pd.DataFrame, by_run: Mapping[str, pd.Series[float]], notes: list[str]) -> list[_Group]:
    rates = runs.groupby("method")["learning_rate"].nunique(dropna=False)
    groups = []
    for (method, _), rows in runs.groupby(["method", "learning_rate"], sort=False, dropna=False):
        rate = rows["learning_rate"].iloc[0]
        known = None if pd.isna(rate) else float(rate)
        several = rates[str(method)] > 1 and known is not None
        bad = rows[rows["status"] != "ok"]
        group = _Group(
            title=f"{method} lr {known:g}" if several else str(method),
            card=str(rows["card"].iloc[0]),
            rate=known,
            all_runs=rows,
            failed=tuple(FailedRun(status=str(s), reason=str(r)) for s, r in zip(bad["status"], bad["reason"])),
        )
        lost = [failure for failure in group.failed if failure.status != DIVERGED]
        if lost and len(group.runs):
            notes.append(f"{group.title}: {len(lost)} of {len(rows)} final runs failed; its figures are of the others")
        groups.append(group)
    return groups


def _bases(groups: Sequence[_Group], base: str) -> list[str]:
    return [group.title for group in groups if group.card == base]


def _candidate(group: _Group, evidence: _Evidence, tuning: Tuning | None, *, is_base: bool) -> Candidate:
    score, outcomes = evidence.intervals.get(group.title), evidence.outcomes
    seeds, examples, collapsed = 0, 0, 0
    if score is not None:
        assert outcomes is not None
        place = outcomes.whole.names.index(group.title)
        seeds = int(outcomes.steady.num_seeds[place] + outcomes.collapsed[place])
        examples, collapsed = outcomes.whole.num_answers, int(outcomes.collapsed[place])
    single = False
    if score is None and "test_score" in group.runs and group.runs["test_score"].notna().any():
        values = group.runs["test_score"].dropna()
        score, seeds, single = Estimate(float(values.mean()), None, None), len(values), True
        if "num_test_examples" in group.runs and group.runs["num_test_examples"].notna().any():
            examples = int(group.runs["num_test_examples"].dropna().iloc[0])
    return Candidate(
        method=group.title,
        card=group.card,
        is_base=is_base,
        learning_rate=group.rate,
        num_seeds=seeds,
        num_examples=examples,
        num_collapsed=collapsed,
        failures=group.failed,
        score=score,
        gain=evidence.gains.get(group.title),
        metrics=_figures(group.runs),
        tier=next((place for place, names in enumerate(evidence.tiers, start=1) if group.title in names), None),
        single=single,
        edge=tuning.edge if tuning is not None else None,
        bracket=tuning.bracket if tuning is not None else (None, None),
    )


def _spared(pair: Pair, understated: Collection[str]) -> Pair:
    """The pair without a verdict against a method whose learning rate is not bracketed."""
    worse = {"better": pair.second, "worse": pair.first}.get(pair.verdict)
    return replace(pair, verdict="undecided", more_seeds=None) if worse in understated else pair


def _open_notes(candidates: Sequence[Candidate]) -> list[str]:
    sides = {"lowest": "a lower", "highest": "a higher", "both": "another"}
    return [
        f"{c.method}: its learning rate is not bracketed, {sides[c.edge]} one may be better: its score is understated, "
        "so it is never called worse than another, while its wins stand"
        for c in candidates
        if c.edge is not None
    ]


def _figures(runs: pd.DataFrame) -> dict[str, MetricSummary]:
    metrics = {}
    for name in runs.columns:
        if name in NOT_FIGURES or runs[name].dtype == bool:
            continue
        if not pd.api.types.is_numeric_dtype(runs[name]):
            continue
        values = runs[name].dropna().astype(float)
        if len(values):
            metrics[str(name)] = MetricSummary(
                mean=float(values.mean()),
                low=float(values.min()),
                high=float(values.max()),
                num_runs=len(values),
                deviation=float(values.std()) if len(values) > 1 else None,
            )
    return metrics


def _rank(candidate: Candidate, sign: float) -> tuple[Any, ...]:
    score = candidate.score
    return not candidate.is_base, score is None, 0.0 if score is None else -sign * score.value


def _gains(crossed: Crossed, *, sign: float, level: float) -> dict[str, Estimate]:
    """Of every method over the base, by title; none where no base was measured."""
    if not crossed.fixed.any() or crossed.num_examples < 2:
        return {}
    return gains_of(crossed, crossed.names[int(crossed.fixed.argmax())], sign=sign, level=level)


def _tail_notes(crossed: Crossed) -> list[str]:
    """Where a few examples carry a mean, which is what is judged: how far, and the medians beside it."""
    sizes = np.sort(np.abs(crossed.example_means), axis=1)[:, ::-1]
    few = max(crossed.num_examples // 100, 1)
    carried = sizes[:, :few].sum(axis=1) / np.maximum(sizes.sum(axis=1), 1e-300)
    worst = int(carried.argmax())
    if carried[worst] < HEAVY_TAIL_SHARE or crossed.num_examples < 100:
        return []
    medians = np.median(crossed.example_means, axis=1)
    beside = ", ".join(f"{name} {value:.3g}" for name, value in zip(crossed.names, medians))
    return [
        f"means are judged, and a few examples carry them: the largest {few} of {crossed.num_examples:,} make up "
        f"{carried[worst]:.0%} of that of {crossed.names[worst]}; medians over examples: {beside}"
    ]


def _look_notes(crossed: Crossed, looks: Looks, level: float) -> list[str]:
    """Of seeds that grew by plan or by hand; nothing of a study with one list of them."""
    notes = []
    if looks.num_planned > 1:
        counts = [len(seeds) for seeds in looks.seeds[: looks.num_planned]]
        most = int(crossed.num_seeds[~crossed.fixed].max(initial=0))
        if most <= counts[0]:
            notes.append(f"none was given more than {counts[0]} seeds: up to {counts[-1]} would hardly decide more")
        else:
            notes.append(
                f"more seeds went where they decide, {most} at most; a false verdict at any of the "
                f"{looks.num_planned} looks has a probability of at most {1.0 - level:.0%} in all"
            )
    added = len(looks.seeds) - looks.num_planned
    if added:
        times = "once" if added == 1 else f"{added} times"
        notes.append(f"seeds were added {times} after a verdict, so what they add is held to a stricter level")
    return notes


def _notes(outcomes: Outcomes, num_runs: Mapping[str, int]) -> list[str]:
    crossed = outcomes.whole
    trained = ~crossed.fixed
    notes = ["intervals are conditional on the frozen configuration: they do not say what another tuning would give"]
    if crossed.num_examples < 2:
        return [*notes, "one test example: no interval"]
    if crossed.grouped:
        notes.append(
            f"{crossed.num_answers:,} test examples in {crossed.num_examples:,} groups of related examples: intervals "
            "and verdicts count groups"
        )
    if not crossed.bounded:
        notes += _tail_notes(crossed)
    if crossed.grouped and crossed.num_examples < FEW_GROUPS:
        notes.append(f"so few groups say little of others: with fewer than {FEW_GROUPS} intervals are rough")
    once = [name for i, name in enumerate(crossed.names) if i not in outcomes.comparable]
    if trained.any() and not crossed.degrees.any():
        notes.append("one seed each: intervals are over the test examples only, not over other trainings")
    elif once:
        notes.append(f"trained once, so compared with none; their seed variance is the others': {', '.join(once)}")
    if once:
        notes.append("two seeds or more are needed for a verdict")
    notes += [
        f"{name}: its seeds scatter more than the others', so its interval is mostly from its own"
        for name in np.array(crossed.names)[crossed.unsteady]
    ]
    left = "with the untouched base's answers" if crossed.fixed.any() else "in no score: there is no base to count with"
    for name, diverged, collapsed in zip(crossed.names, outcomes.diverged, outcomes.collapsed):
        if diverged:
            notes.append(f"{name}: {diverged} of {num_runs[name]} trainings diverged, counted {left}")
        if collapsed:
            notes.append(
                f"{name}: {collapsed} of {num_runs[name]} trainings collapsed, far below its best, counted with their "
                "own scores"
            )
    return notes
