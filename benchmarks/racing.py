"""How seldom a race drops what it should keep, and what it saves: simulated studies whose front is known.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/racing.py --out benchmarks/racing.md     # 400 studies a world

Scores are made by ``worlds.py`` and ``tuned_worlds.py``, which share no code with the analysis; costs are given with a
world, times with a spread. Looks, eliminations and the verdict on whoever is left are the product's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats
from tuned_worlds import METHODS, TEST, VALID, Method
from tuned_worlds import WORLDS as TUNED
from worlds import DEMO_SDS, Study, World, a_study, eight

from peftscope.analysis.looks import TrainedMethods
from peftscope.analysis.outcomes import Training
from peftscope.analysis.pairs import compared, verdicts_of
from peftscope.analysis.race import Contest, eliminated_in
from peftscope.schema.effort import EFFORTS
from peftscope.schema.elimination import Elimination
from peftscope.schema.metric import MetricSpec
from peftscope.schema.seeds import RACED_FROM, Looks, race_share
from tuning import by_effort

LEVEL = 0.95
TIME_SPREAD = 0.03
"""Of a training's time, as a share: what runs of one method differ by."""
ACCURACY = MetricSpec(name="accuracy", unit="share", direction="higher", window="")
MEMORY = MetricSpec(name="memory_bytes", unit="bytes", direction="lower", window="", limit="memory")
CHECKPOINT = MetricSpec(name="checkpoint_bytes", unit="bytes", direction="lower", window="", limit="checkpoint")
TIME = MetricSpec(name="time_s", unit="s", direction="lower", window="", limit="time", repeats=False)
RISING = tuple(1.0 + 0.1 * place for place in range(8))
"""Costs: every method costs more than the one before, so that each could be dropped for its score alone."""

PREAMBLE = """# Racing over methods

Written by `benchmarks/racing.py`: {studies:,} simulated studies a world, eight methods, 1,000 test examples (right or
wrong) and three seeds where a line says nothing else. Memory and checkpoint repeat, times scatter by {spread:.0%}. In
most worlds every method costs more than the one before, by a tenth of the first, so that only its score keeps it.

*Front lost*: studies in which a true front member (no other is better on every metric) was eliminated, with its 95 %
interval; the goal is at most 5 %. *False*: studies in which the race or the verdict on whoever was left told two apart
that score the same, or the wrong way round; the goal is 5 %, too; *without* is that of the same
studies without a race. *Dropped*: of the methods that another beats on every
metric, those that the race found. *Saved*: of all final runs, those that were not started; *at most* is what a race
would save that knew the truth.

**What is saved.** With three seeds there is one look, after the second, so a race that knew the truth would save a
third of the final runs of what is dominated. Half of that is found where each dearer method is five points worse, a
quarter where seeds scatter by 3 points, and of costs and scores at random, where few are dominated, next to nothing:
two seeds of eight methods know a difference to several points, and the claim is corrected over all pairs that costs let
through. It pays with five seeds, and with ten it saves most of what there is to save. Tuning is not raced on: trials
measure neither memory nor checkpoint, and the frozen rate is often none of theirs.

"""
HEADINGS = ("world", "front lost %", "interval", "false %", "without %", "dropped %", "saved %", "at most %")


@dataclass(frozen=True, kw_only=True)
class Field:
    """A world with what its methods cost."""

    world: World
    memory: tuple[float, ...] = RISING
    checkpoint: tuple[float, ...] = RISING
    time: tuple[float, ...] = RISING


@dataclass
class Counts:
    """Over the studies of a world."""

    lost: list[bool] = field(default_factory=list)
    false: list[bool] = field(default_factory=list)
    unraced: list[bool] = field(default_factory=list)
    """The same of the verdict on all trainings."""
    dropped: int = 0
    dominated: int = 0
    saved: list[float] = field(default_factory=list)
    possible: list[float] = field(default_factory=list)


def _seeds(number: int) -> tuple[int, ...]:
    return (number,) * 8


STEPS = tuple(0.6 - 0.1 * max(0, place - 1) / 2 for place in range(8))
"""Accuracies that fall by five points a method, from the third on."""
FIELDS = {
    "all score the same": Field(world=World()),
    "the same, seed SDs as in the demo, 0.7 to 13": Field(world=World(seed_sds=DEMO_SDS)),
    "the same, one of seed SD 6": Field(world=World(seed_sds=eight(0.06, 0.01)[::-1])),
    "the same, seed SD 3 with heavy tails": Field(world=World(seed_sds=(0.03,) * 8, heavy=True)),
    "the same, 100 examples": Field(world=World(examples=100)),
    "the same, seeds shared by .7": Field(world=World(shared=0.7)),
    "the same, one training in ten collapses": Field(world=World(collapse=(0.1,) * 8, base=0.05)),
    "the same, 10 seeds": Field(world=World(seeds=_seeds(10))),
    "near ties: the dearest is half a point better": Field(world=World(accuracies=eight(0.505, 0.5)[::-1])),
    "cheap but low: each cheaper one 5 points worse": Field(world=World(accuracies=STEPS[::-1])),
    "worse in all but an equal time": Field(world=World(accuracies=STEPS), time=(1.0,) * 8),
    "worse in all but a tied checkpoint": Field(world=World(accuracies=STEPS), checkpoint=(1.0,) * 8),
    "each dearer one 5 points worse": Field(world=World(accuracies=STEPS)),
    "each dearer one 5 points worse, seed SD 3": Field(world=World(accuracies=STEPS, seed_sds=(0.03,) * 8)),
    "each dearer one 5 points worse, 5 seeds": Field(world=World(accuracies=STEPS, seeds=_seeds(5))),
    "each dearer one 5 points worse, 10 seeds": Field(world=World(accuracies=STEPS, seeds=_seeds(10))),
    "one dear and 30 points worse": Field(world=World(accuracies=eight(0.2, 0.5)[::-1])),
}
"""The accuracies of worlds named *the same* are equal, so that none is beaten on every metric."""
MIXED = "costs and scores at random, as little related as the demo's"


def run_field(given: Field, studies: int, source: int, *, mixed: bool = False) -> Counts:
    """Studies of one world; with ``mixed`` each has costs and accuracies of its own."""
    generator = np.random.default_rng([7, source])
    counts = Counts()
    for _ in range(studies):
        own = _drawn(generator) if mixed else given
        study = a_study(own.world, generator)
        _count(counts, study, own, generator)
    return counts


def run_tuned(studies: int) -> Counts:
    """Methods that are equal at their best rates, each tuned by ``standard``; every elimination loses one of them."""
    counts, generator = Counts(), np.random.default_rng(8)
    tune = by_effort(EFFORTS["standard"])
    for number in range(studies):
        difficulty = generator.standard_normal(VALID)
        test = generator.standard_normal(TEST)
        world = TUNED[number % len(TUNED)]
        methods = [Method(world, generator, difficulty, 1_000 * number + i) for i in range(METHODS)]
        tuned = [tune(method) for method in methods]
        study = Study(
            answers={
                str(i): [m.answers(t.rate, seed, test).astype(float) for seed in range(3)]
                for i, (m, t) in enumerate(zip(methods, tuned))
            },
            truths={str(i): 0.5 for i in range(METHODS)},
        )
        spared = frozenset(str(i) for i, t in enumerate(tuned) if not t.closed)
        _count(counts, study, Field(world=World(seeds=_seeds(3))), generator, spared, judged=False)
    return counts


def _drawn(generator: np.random.Generator) -> Field:
    """Methods of which most differ by several points, in cost by tenths."""
    memory, checkpoint, time = (np.exp(scale * generator.standard_normal(8)) for scale in (0.15, 1.5, 0.2))
    accuracies = np.clip(0.45 + 0.12 * generator.standard_normal(8), 0.05, 0.9)
    world = World(accuracies=tuple(map(float, accuracies)), seed_sds=(0.015,) * 8)
    return Field(world=world, memory=tuple(memory), checkpoint=tuple(checkpoint), time=tuple(time))


def _count(
    counts: Counts,
    study: Study,
    own: Field,
    generator: np.random.Generator,
    spared: frozenset[str] = frozenset(),
    *,
    judged: bool = True,
) -> None:
    names = [name for name in study.answers if name != "base"]
    num_seeds = max(own.world.seeds)
    times = np.array(own.time)[:, None] * np.exp(TIME_SPREAD * generator.standard_normal((8, num_seeds)))
    found, kept = _raced(study, own, times, spared)
    beaten = _beaten(study, own, names)
    out = {each.method for each in found}
    counts.lost.append(bool(out - beaten))
    counts.dropped += len(out & beaten)
    counts.dominated += len(beaten)
    total = sum(len(study.answers[name]) for name in names)
    counts.saved.append(1.0 - sum(len(kept[name]) for name in names) / total)
    counts.possible.append(len(beaten) * (num_seeds - RACED_FROM) / total)
    if judged:
        wrong = any(study.truths[each.method] >= study.truths[each.by] for each in found)
        counts.false.append(wrong or _tells_apart(study, kept, out, num_seeds))
        counts.unraced.append(_tells_apart(study, _trainings(study), set(), num_seeds) if found else counts.false[-1])


def _raced(
    study: Study, own: Field, times: np.ndarray, spared: frozenset[str]
) -> tuple[list[Elimination], dict[str, list[Training]]]:
    """Who was eliminated, and the trainings that were made."""
    all_of = _trainings(study)
    alive = [name for name in all_of if name != "base"]
    found: list[Elimination] = []
    for look, count in enumerate(range(RACED_FROM, max(own.world.seeds))):
        out = {each.method: each.num_seeds for each in found}
        known = {name: rows[: out.get(name, count)] for name, rows in all_of.items()}
        trained = TrainedMethods(trainings=known, fixed=["base"] if "base" in known else ())
        contest = Contest(
            outcomes=trained.outcomes,
            metric=ACCURACY,
            costs={
                MEMORY: {name: np.full(count, own.memory[int(name)]) for name in alive},
                CHECKPOINT: {name: np.full(count, own.checkpoint[int(name)]) for name in alive},
                TIME: {name: times[int(name), :count] for name in alive},
            },
            conditions=dict.fromkeys(alive, "one machine"),
            spared=spared,
            raced={name: tuple(f"{name} {seed}" for seed in range(count)) for name in alive if name not in out},
        )
        found += eliminated_in(contest, (1.0 - LEVEL) * race_share(look))
    out = {each.method: each.num_seeds for each in found}
    return found, {name: rows[: out.get(name, len(rows))] for name, rows in all_of.items()}


def _trainings(study: Study) -> dict[str, list[Training]]:
    return {
        name: [Training(seed=seed, scores=scores) for seed, scores in enumerate(rows)]
        for name, rows in study.answers.items()
    }


def _beaten(study: Study, own: Field, names: list[str]) -> set[str]:
    """Methods that one other is truly better than on every metric."""
    figures = {
        name: (-study.truths[name], own.memory[int(name)], own.checkpoint[int(name)], own.time[int(name)])
        for name in names
    }
    return {
        name
        for name in names
        if any(all(theirs < ours for theirs, ours in zip(figures[by], figures[name])) for by in names)
    }


def _tells_apart(study: Study, kept: dict[str, list[Training]], out: set[str], num_seeds: int) -> bool:
    """Whether the verdict on whoever is left is wrong on a pair."""
    trained = TrainedMethods(trainings=kept, fixed=["base"] if "base" in kept else (), eliminated=frozenset(out))
    looks = trained.at(Looks(seeds=(tuple(range(num_seeds)),)))
    tested = compared(trained.outcomes, sign=1.0, margin=None, looks=looks)
    whole = trained.outcomes.whole
    for first, second, verdict in zip(tested.of.first, tested.of.second, verdicts_of(tested, LEVEL, 1.0)):
        gap = study.truths[whole.names[first]] - study.truths[whole.names[second]]
        if (verdict == "better" and gap <= 0.0) or (verdict == "worse" and gap >= 0.0):
            return True
    return False


def _row(name: str, counts: Counts) -> list[str]:
    lost, studies = sum(counts.lost), len(counts.lost)
    interval = stats.binomtest(lost, studies).proportion_ci(method="wilson")
    return [
        name,
        f"{100 * lost / studies:.1f}",
        f"{100 * interval.low:.1f} to {100 * interval.high:.1f}",
        f"{100 * np.mean(counts.false):.1f}" if counts.false else "–",
        f"{100 * np.mean(counts.unraced):.1f}" if counts.unraced else "–",
        f"{100 * counts.dropped / counts.dominated:.0f}" if counts.dominated else "–",
        f"{100 * np.mean(counts.saved):.1f}",
        f"{100 * np.mean(counts.possible):.1f}",
    ]


def table(studies: int, tell: Callable[[str], None]) -> str:
    """The whole table as Markdown."""
    rows = []
    for source, (name, given) in enumerate(FIELDS.items()):
        rows.append(_row(name, run_field(given, studies, source)))
        tell(" | ".join(rows[-1]))
    rows.append(_row(MIXED, run_field(Field(world=World()), studies, 99, mixed=True)))
    tell(" | ".join(rows[-1]))
    few = max(studies // 2, 1)
    rows.append(_row(f"equal at their best rates, tuned ({few} studies)", run_tuned(few)))
    tell(" | ".join(rows[-1]))
    lines = [HEADINGS, ["---", *["---:"] * (len(HEADINGS) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    """Simulate, and print the table or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    text = PREAMBLE.format(studies=given.studies, spread=TIME_SPREAD) + table(given.studies, print)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
