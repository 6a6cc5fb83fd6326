"""What the product says of studies from worlds whose truth is known (``worlds.py``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats
from simulated import LEVEL, MARGIN, outcomes_in
from worlds import Study, World, a_study

from peftscope.analysis.contenders import contenders
from peftscope.analysis.criteria import Criteria
from peftscope.analysis.estimates import Estimate
from peftscope.analysis.front import front_of
from peftscope.analysis.intervals import mean_intervals
from peftscope.analysis.looks import TrainedMethods
from peftscope.analysis.outcomes import Training, outcomes_of
from peftscope.analysis.pairs import compared, pairs_of, verdicts_of
from peftscope.analysis.pooling import pooled
from peftscope.analysis.recommendation import recommend
from peftscope.analysis.study_verdict import judge
from peftscope.analysis.verdict import Verdict
from peftscope.schema.metric import MetricSpec
from peftscope.schema.seeds import Looks, SeedPlan
from peftscope.views.recommendation import recommendation_topics

ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="")
MEMORY = MetricSpec(name="peak_train_memory_bytes", unit="bytes", direction="lower", window="")

CRITERIA = Criteria(margin=MARGIN, level=LEVEL)

MOST_MORE = 20
"""More seeds that are tried out at most."""

FAR_WORSE = 0.05
"""Deficit that nobody would call no worse."""


@dataclass
class Seen:
    """What was seen in the studies of a world; one number per study, or several."""

    counts: dict[str, list[float]] = field(default_factory=dict)
    said: dict[str, list[tuple[float, bool]]] = field(default_factory=dict)
    """Probabilities, and whether what they are of was so."""

    def add(self, **found: float | None) -> None:
        """Of one study; what does not arise in it is left out."""
        for name, value in found.items():
            if value is not None:
                self.counts.setdefault(name, []).append(float(value))

    def merge(self, other: Seen) -> None:
        """Take the studies of another part of the same world."""
        for name, values in other.counts.items():
            self.counts.setdefault(name, []).extend(values)
        for name, pairs in other.said.items():
            self.said.setdefault(name, []).extend((p, bool(t)) for p, t in pairs)


def pairs_seen(world: World, studies: int, *, source: Sequence[int]) -> Seen:
    """Verdicts on pairs, and coverage of scores, of the differences and of the picked best."""
    generator, seen = np.random.default_rng(source), Seen()
    for _ in range(studies):
        study = a_study(world, generator)
        outcomes = outcomes_in(study)
        names = outcomes.whole.names
        truth = np.array([study.truths[name] for name in names])
        tested = compared(outcomes, sign=1.0, margin=MARGIN)
        verdicts = np.array(verdicts_of(tested, LEVEL, 1.0))
        apart = truth[tested.of.first] - truth[tested.of.second]
        same = np.abs(apart) < 1e-12
        called = np.where(tested.p_adjusted <= 1.0 - LEVEL, np.sign(tested.of.centres), 0.0)
        right = (verdicts == "better") & (apart > 0) | (verdicts == "worse") & (apart < 0)
        covered = _covered(mean_intervals(outcomes.whole, LEVEL), truth)
        trained = np.flatnonzero(~outcomes.whole.fixed)
        best = int(trained[outcomes.whole.means[trained].argmax()])
        drawn = pooled(outcomes.whole, generator)
        assert drawn is not None
        once = {i for i, seeds in enumerate(world.seeds) if seeds == 1}
        seen.add(
            false_better=bool(((called != 0.0) & (same | (called * apart < 0.0))).any()),
            false_equivalent=bool(((verdicts == "equivalent") & (np.abs(apart) > MARGIN)).any()),
            found=right[~same].mean() if (~same).any() else None,
            answered=(verdicts != "undecided").mean(),
            cover_first=covered[0],
            cover=float(np.mean(covered)),
            picked_plain=covered[best],
            picked=_covered([drawn.estimate(names[best], LEVEL)], truth[[best]])[0],
            judged_once=bool(once & {*tested.of.first, *tested.of.second}) if once else None,
        )
    return seen


def answers_seen(world: World, studies: int, *, source: Sequence[int]) -> Seen:
    """What is recommended, and how often stated probabilities are right; through ``judge`` and ``recommend``."""
    generator, seen = np.random.default_rng(source), Seen()
    for _ in range(studies):
        study = a_study(world, generator)
        verdict, costs = _judged(study, generator)
        found = recommend(verdict)
        front = front_of(verdict, [ACCURACY, MEMORY], draws=2_000)
        names = [c.method for c in verdict.candidates if c.score is not None and not c.is_base]
        truth = {name: study.truths[name] for name in names}
        cheaper = verdict.candidate(found.cheapest["memory"]) if "memory" in found.cheapest else None
        far = none = None
        if found.choice is not None and cheaper is not None and cheaper.method != found.choice.method:
            pair = verdict.pair(found.choice.method, cheaper.method)
            claimed = pair is not None and pair.difference.high is not None and pair.difference.high <= MARGIN
            far = claimed and truth[found.choice.method] - truth[cheaper.method] > FAR_WORSE
            none = claimed
        choice = found.choice
        risky = choice is not None and not choice.is_base and choice.num_wrong > 0
        title = recommendation_topics(found, front, [ACCURACY, MEMORY])[0].title
        seen.add(
            took_one=choice is not None and not choice.is_base,
            cheaper_named=cheaper is not None and cheaper is not choice,
            claims_no_worse=none,
            claim_far_worse=far,
            cheaper_went_wrong=cheaper is not None and cheaper is not choice and cheaper.num_wrong > 0,
            took_risky=risky,
            silent="trainings" not in title if risky else None,
        )
        members = {n for n in names if not any(costs[o] < costs[n] and truth[o] > truth[n] for o in names if o != n)}
        seen.said.setdefault("member", []).extend(
            (chance, n in members) for n in names if (chance := front.membership.get(n)) is not None
        )
        top = max(truth.values())
        seen.said.setdefault("best", []).extend(
            (c.best_chance, truth[c.method] == top)
            for c in verdict.candidates
            if c.method in truth and c.best_chance is not None
        )
    return seen


def more_seen(world: World, studies: int, *, source: Sequence[int]) -> Seen:
    """Whether a pair is decided by as many more seeds as are named; one pair of each study that names any."""
    generator, seen = np.random.default_rng(source), Seen()
    for _ in range(studies):
        study = a_study(world, generator)
        outcomes = outcomes_in(study, 3)
        drawn = pooled(outcomes.whole, generator)
        assert drawn is not None
        first = Looks(seeds=((0, 1, 2),))
        pairs = pairs_of(outcomes, drawn, CRITERIA, sign=1.0, next_share=first.share_of_the_next)
        named = [(p, p.more_seeds) for p in pairs if p.more_seeds is not None and p.more_seeds.seeds <= MOST_MORE]
        seen.add(named=len(named) / max(sum(p.verdict == "undecided" for p in pairs), 1))
        if not named:
            continue
        pair, more = named[int(generator.integers(len(named)))]
        longer = {n: 3 + more.seeds if n in (pair.first, pair.second) else 3 for n in study.answers}
        grown = {
            n: [Training(seed=seed, scores=row) for seed, row in enumerate(rows[: longer[n]])]
            for n, rows in study.answers.items()
        }
        longer_trained = TrainedMethods(trainings=grown)
        looks = longer_trained.at(Looks(seeds=((0, 1, 2), tuple(range(3 + more.seeds)))))
        tested = compared(longer_trained.outcomes, sign=1.0, margin=MARGIN, looks=looks)
        names = np.array(outcomes.whole.names)
        place = [
            {pair.first, pair.second} == {names[a], names[b]} for a, b in zip(tested.of.first, tested.of.second)
        ].index(True)
        seen.add(more_decides=verdicts_of(tested, LEVEL, 1.0)[place] != "undecided")
    return seen


def _covered(intervals: Sequence[Estimate], truth: np.ndarray) -> list[bool]:
    return [i.low is not None and i.high is not None and i.low <= t <= i.high for i, t in zip(intervals, truth)]


def _judged(study: Study, generator: np.random.Generator) -> tuple[Verdict, Mapping[str, float]]:
    """The verdict on a study as the commands make it, with memory that costs more or less by chance."""
    costs = dict(zip(study.answers, generator.permutation(len(study.answers)) + 1.0))
    rows, scores = [], []
    for name, trainings in study.answers.items():
        for seed, answers in enumerate(trainings):
            run = f"{name}-{seed}"
            rows.append(
                {
                    "run_id": run, "method": name, "card": name, "learning_rate": None, "seed": seed,
                    "purpose": "final", "status": "diverged" if answers is None else "ok",
                    "reason": "loss is NaN" if answers is None else None, MEMORY.name: costs[name] * 1e9,
                }
            )  # fmt: skip
            if answers is not None:
                columns = {"run_id": run, "example_id": np.arange(len(answers)), "draw": 0, "score": answers}
                scores.append(pd.DataFrame(columns))
    examples = pd.concat(scores, ignore_index=True)
    return judge(pd.DataFrame(rows), examples, ACCURACY, base="base", criteria=CRITERIA), costs


def tails_seen(examples: int, studies: int, *, source: Sequence[int]) -> Seen:
    """Losses of eight identical methods, lognormal over examples with sigma 1.5."""
    generator, seen = np.random.default_rng(source), Seen()
    truth, parts = np.exp(1.5**2 / 2.0), np.sqrt([0.8, 0.15, 0.05])
    for _ in range(studies):
        hard = parts[0] * generator.standard_normal(examples)
        trainings = {}
        for method in range(8):
            own = hard + parts[1] * generator.standard_normal(examples)
            logs = own + parts[2] * generator.standard_normal((3, examples))
            losses = np.exp(1.5 * logs) + 0.02 * generator.standard_normal((3, 1))
            trainings[str(method)] = [Training(seed=seed, scores=row) for seed, row in enumerate(losses)]
        outcomes = outcomes_of(trainings, sign=-1.0)
        crossed, tested = outcomes.whole, compared(outcomes, sign=-1.0, margin=None)
        half = stats.t.isf(0.025, examples - 1) * np.sqrt(np.diag(crossed.covariance))
        seen.add(
            cover=float(np.mean(_covered(mean_intervals(crossed, LEVEL), np.full(8, truth)))),
            cover_students=float((np.abs(crossed.means - truth) <= half).mean()),
            false_better=bool((tested.p_adjusted <= 1.0 - LEVEL).any()),
        )
    return seen


def missing_seen(world: World, studies: int, *, source: Sequence[int]) -> Seen:
    """The first method lacks the answers to what is hardest for all, as far as it is 8 %."""
    generator, seen = np.random.default_rng(source), Seen()
    part = 0.08
    for _ in range(studies):
        study = a_study(world, generator)
        rows, scores = [], []
        solved = np.mean([row for runs in study.answers.values() for row in runs if row is not None], axis=0)
        hardest = np.argsort(solved, kind="stable")[: int(part * world.examples)]
        for name, runs in study.answers.items():
            for seed, row in enumerate(runs):
                assert row is not None
                run = f"{name}-{seed}"
                given = np.setdiff1d(np.arange(len(row)), hardest) if name == "0" else np.arange(len(row))
                rows.append({"run_id": run, "method": name, "card": name, "learning_rate": None, "seed": seed,
                             "purpose": "final", "status": "ok", "reason": None})  # fmt: skip
                scores.append(pd.DataFrame({"run_id": run, "example_id": given, "draw": 0, "score": row[given]}))
        verdict = judge(
            pd.DataFrame(rows), pd.concat(scores, ignore_index=True), ACCURACY, base="base", criteria=CRITERIA
        )
        told = verdict.candidate("0").score
        assert told is not None
        whole = float(np.mean([row for row in study.answers["0"] if row is not None]))
        common = np.setdiff1d(np.arange(world.examples), hardest)
        others = float(np.mean([row[common] for row in study.answers["0"] if row is not None]))
        seen.add(
            # the method that lacks answers may be called worse for it; no other pair differs
            false_better=any(p.verdict in ("better", "worse") for p in verdict.pairs if "0" not in (p.first, p.second)),
            bounded=told.value - 1e-9 <= whole <= told.value + part + 1e-9,
            off=told.value - whole,
            off_common=others - whole,
        )
    return seen


def planned_seen(world: World, studies: int, *, plan: SeedPlan, source: Sequence[int]) -> Seen:
    """Verdicts where more seeds go to those between which they decide; the world has the most there may be."""
    generator, seen = np.random.default_rng(source), Seen()
    for _ in range(studies):
        study = a_study(world, generator)
        fixed = ["base"] if "base" in study.answers else []
        all_runs = {
            name: [Training(seed=seed, scores=row) for seed, row in enumerate(rows)]
            for name, rows in study.answers.items()
        }
        given = {name: runs[: plan.first] for name, runs in all_runs.items()}
        for count in (*plan.counts[1:], None):
            trained_so_far = TrainedMethods(trainings=given, fixed=fixed)
            if count is None:
                break
            more = contenders(trained_so_far, plan.looks, CRITERIA, most=plan.most)
            if not more:
                break
            given |= {name: all_runs[name][:count] for name in more}
        outcomes = trained_so_far.outcomes
        names = outcomes.whole.names
        truth = np.array([study.truths[name] for name in names])
        tested = compared(outcomes, sign=1.0, margin=MARGIN, looks=trained_so_far.at(plan.looks))
        verdicts = np.array(verdicts_of(tested, LEVEL, 1.0))
        apart = truth[tested.of.first] - truth[tested.of.second]
        same = np.abs(apart) < 1e-12
        called = np.where(tested.p_adjusted <= 1.0 - LEVEL, np.sign(tested.of.centres), 0.0)
        right = (verdicts == "better") & (apart > 0) | (verdicts == "worse") & (apart < 0)
        trained = np.flatnonzero(~outcomes.whole.fixed)
        best = int(trained[outcomes.whole.means[trained].argmax()])
        covered = np.array(_covered(mean_intervals(outcomes.whole, LEVEL), truth))
        half = stats.t.isf((1.0 - LEVEL) / 2.0, tested.of.degrees) * tested.of.errors
        drawn = pooled(outcomes.whole, generator)
        seen.add(
            false_better=bool(((called != 0.0) & (same | (called * apart < 0.0))).any()),
            false_equivalent=bool(((verdicts == "equivalent") & (np.abs(apart) > MARGIN)).any()),
            found=right[~same].mean() if (~same).any() else None,
            answered=(verdicts != "undecided").mean(),
            seeds=float(outcomes.whole.num_seeds[trained].mean()),
            cover=float(covered[trained].mean()),
            cover_pairs=float((np.abs(tested.of.centres - apart) <= half).mean()),
            picked=None if drawn is None else _covered([drawn.estimate(names[best], LEVEL)], truth[[best]])[0],
        )
    return seen
