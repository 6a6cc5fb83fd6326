"""From the final runs of a study to its verdict."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from peftscope.analysis.crossed import Crossed, fit, mean_intervals
from peftscope.analysis.estimates import LEVEL, Estimate
from peftscope.analysis.pairs import pairs_of
from peftscope.analysis.tiers import tiers_of
from peftscope.analysis.tuning import Tuning
from peftscope.analysis.verdict import Candidate, Figure, Pair, Verdict
from peftscope.spec.metric import MetricSpec

__all__ = ["SHARE_MARGIN", "crossed_of", "final_runs", "judge", "scores_by_run"]

SHARE_MARGIN = 0.02
"""Margin of equivalence where the metric is a share and the user names none."""

COMPLETE = 0.9
"""Share of the test examples a run must have answered to be counted."""

NOT_FIGURES = frozenset({"learning_rate", "seed", "num_attempts", "num_test_examples"})

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Group:
    """The final runs of one candidate."""

    title: str
    technique: str
    rate: float | None
    runs: pd.DataFrame
    failed: tuple[str, ...]


def judge(
    runs: pd.DataFrame,
    examples: pd.DataFrame,
    metric: MetricSpec,
    *,
    base: str,
    tunings: Sequence[Tuning] = (),
    margin: float | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Verdict:
    """What the final runs of a study say about its techniques; the method stands in ``crossed``, ``pairs``, ``tiers``.

    Args:
        runs: One row per run (``store.frame.frame_of``), all of one quality protocol; trials are passed over. A
            column ``num_test_examples``, where there is one, tells how many answers a single run's score is of.
        examples: One row per run, example and draw (``store.frame.examples_of``).
        metric: The task's score.
        base: Card name of the untouched base.
        tunings: What tuning came to. A technique whose learning rate is not bracketed is understated: it is never
            called worse, and in no tier but the top one.
        margin: Difference that does not matter; 0.02 for shares, else None: nothing is called equivalent.
        level: Of intervals, and 1 less the chance of any false verdict of a kind.
        seed: Of the draws behind the tiers.
    """
    runs = final_runs(runs)
    protocols = set(runs["quality_protocol"].dropna()) if "quality_protocol" in runs else set()
    assert len(protocols) <= 1, f"scores of {len(protocols)} quality protocols cannot be ranked together"
    if margin is None and metric.unit == "share":
        margin = SHARE_MARGIN
    sign = -1.0 if metric.direction == "lower" else 1.0
    by_run, notes = scores_by_run(runs, examples)
    groups = _groups(runs, by_run, notes)
    crossed = crossed_of({g.title: list(g.runs["run_id"]) for g in groups}, by_run, _bases(groups, base))
    pairs: tuple[Pair, ...] = ()
    tiers: tuple[tuple[str, ...], ...] = ()
    intervals: dict[str, Estimate] = {}
    covariance: tuple[tuple[float, ...], ...] = ()
    if crossed is not None:
        intervals = dict(zip(crossed.names, mean_intervals(crossed, level)))
        if crossed.num_examples > 1:
            pairs = pairs_of(crossed, sign=sign, margin=margin, level=level)
            tiers = tiers_of(crossed, sign=sign, level=level, generator=np.random.default_rng(seed))
            covariance = tuple(tuple(map(float, row)) for row in crossed.covariance)
        notes += _notes(crossed)
    tuned = {tuning.method: tuning for tuning in tunings if tuning.edge is not None or tuning.is_bracketed}
    understated = {g.title for g in groups if (t := tuned.get(g.title)) is not None and t.edge is not None}
    pairs = tuple(_spared(pair, understated) for pair in pairs)
    tiers = (*tiers[:1], *(kept for names in tiers[1:] if (kept := tuple(n for n in names if n not in understated))))
    candidates = [_candidate(g, base, intervals, crossed, tiers, tuned.get(g.title)) for g in groups]
    notes += _open_notes(candidates)
    single = [c.method for c in candidates if c.single]
    if single:
        notes.append(f"single runs without scores per example, so without an interval: {', '.join(single)}")
    verdict = Verdict(
        metric=metric,
        margin=margin,
        level=level,
        candidates=tuple(sorted(candidates, key=lambda c: _rank(c, sign))),
        pairs=pairs,
        tiers=tiers,
        notes=tuple(notes),
        covariance=covariance,
        tested=crossed.names if covariance and crossed is not None else (),
    )
    return _with_gains(verdict)


def scores_by_run(runs: pd.DataFrame, examples: pd.DataFrame) -> tuple[dict[str, pd.Series[float]], list[str]]:
    """Run id -> score per example, mean over draws, on the examples that all of the runs answered; and notes.

    A run that answered less than nine tenths of them is left out, so that it does not take the others' away.
    """
    wanted = runs.loc[runs["status"] == "ok", "run_id"]
    known = examples[examples["run_id"].isin(wanted)]
    if known.empty:
        return {}, []
    table = known.pivot_table(index="run_id", columns="example_id", values="score", aggfunc="mean", sort=True)
    share = table.notna().mean(axis=1)
    table = table[share >= COMPLETE]
    notes = [f"run {name} is left out: {1 - part:.0%} of the examples are missing" for name, part in share.items()]
    notes = [note for note, part in zip(notes, share) if part < COMPLETE]
    common = table.dropna(axis="columns")
    lost = known["example_id"].nunique() - common.shape[1]
    if lost and common.shape[1]:
        notes.append(f"{lost} test examples that not every run answered are left out")
    if not common.shape[1]:
        return {}, [*notes, "no test example was answered by every run"]
    return {str(run_id): row for run_id, row in common.iterrows()}, notes


def crossed_of(
    run_ids: Mapping[str, Sequence[str]], by_run: Mapping[str, pd.Series[float]], bases: Sequence[str]
) -> Crossed | None:
    """The crossed model of candidates by title, those without scores left out; None where none has any."""
    scores: dict[str, Floats] = {}
    for title, ids in run_ids.items():
        rows = [np.asarray(by_run[i], np.float64) for i in ids if i in by_run]
        if rows:
            scores[title] = np.stack(rows)
    return fit(scores, fixed=[name for name in bases if name in scores]) if scores else None


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
            technique=str(rows["technique"].iloc[0]),
            rate=known,
            runs=rows[rows["status"] == "ok"],
            failed=tuple(f"{status}: {reason}" for status, reason in zip(bad["status"], bad["reason"])),
        )
        if group.failed and len(group.runs):
            notes.append(
                f"{group.title}: {len(group.failed)} of {len(rows)} final runs failed; its figures are of the others"
            )
        groups.append(group)
    return groups


def _bases(groups: Sequence[_Group], base: str) -> list[str]:
    return [group.title for group in groups if group.technique == base]


def _candidate(
    group: _Group,
    base: str,
    intervals: Mapping[str, Estimate],
    crossed: Crossed | None,
    tiers: tuple[tuple[str, ...], ...],
    tuning: Tuning | None,
) -> Candidate:
    score = intervals.get(group.title)
    seeds, examples = 0, 0
    if score is not None:
        assert crossed is not None
        seeds = int(crossed.num_seeds[crossed.names.index(group.title)])
        examples = crossed.num_examples
    single = False
    if score is None and "test_score" in group.runs and group.runs["test_score"].notna().any():
        values = group.runs["test_score"].dropna()
        score, seeds, single = Estimate(float(values.mean()), None, None), len(values), True
        if "num_test_examples" in group.runs and group.runs["num_test_examples"].notna().any():
            examples = int(group.runs["num_test_examples"].dropna().iloc[0])
    return Candidate(
        method=group.title,
        technique=group.technique,
        is_base=group.technique == base,
        learning_rate=group.rate,
        num_seeds=seeds,
        num_examples=examples,
        failures=group.failed,
        score=score,
        figures=_figures(group.runs),
        tier=next((place for place, names in enumerate(tiers, start=1) if group.title in names), None),
        single=single,
        edge=tuning.edge if tuning is not None else None,
        bracket=tuning.bracket if tuning is not None else (None, None),
    )


def _spared(pair: Pair, understated: Collection[str]) -> Pair:
    """The pair without a verdict against a technique whose learning rate is not bracketed."""
    worse = {"better": pair.second, "worse": pair.first}.get(pair.verdict)
    return replace(pair, verdict="undecided", more_seeds=None) if worse in understated else pair


def _open_notes(candidates: Sequence[Candidate]) -> list[str]:
    sides = {"lowest": "a lower", "highest": "a higher", "both": "another"}
    return [
        f"{c.method}: its learning rate is not bracketed, {sides[c.edge]} one may be better: its score is understated, "
        "so it is called worse than none, and its wins stand"
        for c in candidates
        if c.edge is not None
    ]


def _figures(runs: pd.DataFrame) -> dict[str, Figure]:
    figures = {}
    for name in runs.columns:
        if name in NOT_FIGURES or runs[name].dtype == bool:
            continue
        if not pd.api.types.is_numeric_dtype(runs[name]):
            continue
        values = runs[name].dropna().astype(float)
        if len(values):
            figures[str(name)] = Figure(
                mean=float(values.mean()),
                low=float(values.min()),
                high=float(values.max()),
                num_runs=len(values),
                deviation=float(values.std()) if len(values) > 1 else None,
            )
    return figures


def _rank(candidate: Candidate, sign: float) -> tuple[Any, ...]:
    score = candidate.score
    return not candidate.is_base, score is None, 0.0 if score is None else -sign * score.value


def _with_gains(verdict: Verdict) -> Verdict:
    """Each candidate's gain is its pair with the base: one computation for both."""
    bases = [c.method for c in verdict.candidates if c.is_base]
    if not bases:
        return verdict
    gains = {c.method: verdict.pair(c.method, bases[0]) for c in verdict.candidates}
    return replace(
        verdict,
        candidates=tuple(
            c if (pair := gains[c.method]) is None else replace(c, gain=pair.difference) for c in verdict.candidates
        ),
    )


def _notes(crossed: Crossed) -> list[str]:
    trained = ~crossed.fixed
    notes = ["intervals are conditional on the frozen configuration: they do not say what another tuning would give"]
    if crossed.num_examples < 2:
        return [*notes, "one test example: no interval"]
    if trained.any() and not crossed.degrees.any():
        notes.append("one seed each: intervals are over the test examples only, not over other trainings")
    elif trained.any() and len(set(crossed.num_seeds[trained].tolist())) > 1:
        notes.append("techniques have different numbers of seeds; the seed variance is pooled over all of them")
    own = [name for name, pool in zip(crossed.names, crossed.pool) if pool]
    notes += [f"{name}: its seeds scatter more than the others', so its interval is from its own" for name in own]
    return notes
