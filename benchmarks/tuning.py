"""How fair tuning is in effect: equally good methods, tuned and judged, in simulated worlds.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/tuning.py --out benchmarks/tuning.md     # 1,000 studies a cell

A study has eight methods of one accuracy at their best rates, three final seeds and 400 test examples. Each method is
tuned by the product's own rule, its final runs are judged by the product's own statistics. Cells are done by processes
side by side and kept in ``results/tuning-benchmark``: called again, it goes on with what is missing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tuned_worlds import FINAL_SEEDS, METHODS, TEST, VALID, WORLDS, Method, World

from peftscope.analysis.outcomes import Training, outcomes_of
from peftscope.analysis.pairs import compared, verdicts_of
from peftscope.schema.effort import EFFORTS, Effort
from peftscope.tuning.bracket import End, Seen, choose, next_asks, rate_at
from peftscope.tuning.sampler import Point, grid, next_rate
from peftscope.tuning.search import survivors

HERE = Path(__file__).parent
KEPT = HERE.parent / "results" / "tuning-benchmark"
RUNG = 0.2
TUNING_SEED = 1000
CENTRE = -12
"""Lattice point of the card's centre."""
GOALS = {"false": 0.10, "lost": 0.007, "worst": 0.025}
CHUNK = 50
PREAMBLE = """# How fair tuning is in effect

Written by `benchmarks/tuning.py`: {studies:,} simulated studies a cell, each of eight methods of one accuracy (50 %) at
their best learning rates, three final seeds, {test} test and {valid} validation examples. Methods are tuned by the
product's rule and judged by its verdict. *Told apart*: any two of the eight called better and worse, where the loser's
rate is bracketed. *Points lost*: accuracy over fresh seeds at the best fixed rate less that at the chosen one. The rows
of `the best rate` are what no tuning can beat: the verdict's own errors. ± is the Monte-Carlo standard error; a figure
that misses its goal (told apart {false:.0%}, points lost {lost:.1f} on average and {worst:.1f} for the worst of eight)
by more than two of them is **bold**.

Where `standard` misses, and why. *Restless seeds*: the choice between neighbours rests on two seeds whose losses
scatter with the rate; four seeds (`thorough`) bring it within the goals, at two thirds more. *Loss and score apart*:
in each method the rate of the lowest loss lies up to 0.4 decades from that of the best score, and losses know it far
better than 100 validation answers do: two neighbours 3 points apart differ by less than one standard error of such a
score (5 points with one seed, 3.5 with two), so the score seldom decides; four seeds hardly help (25 %), more
validation examples would. *Steep cliffs*: a rate half a step too high costs more there; 0.72 points are lost on
average, 0.66 with `thorough`.

{worlds}

"""


@dataclass(frozen=True)
class Tuned:
    """What tuning one method came to."""

    rate: float
    """Decades from the card's centre."""
    price: float
    """Full trainings."""
    closed: bool
    """Bracketed."""


@dataclass(frozen=True)
class ExampleScore:
    """One study."""

    told_apart: bool
    lost: float
    """Mean over methods, in shares of right answers."""
    worst: float
    price: float
    most: float
    """Of the method that cost most."""
    open_share: float
    """Methods that are not bracketed."""


def by_effort(effort: Effort) -> Callable[[Method], Tuned]:
    """Tuning by a named protocol."""

    def tune(method: Method) -> Tuned:
        rung: dict[int, float] = {}
        end: dict[tuple[int, int], End] = {}
        price = 0.0
        while asks := next_asks(Seen(rung=rung, end=end), effort, CENTRE):
            for ask in asks:
                rate, seed = (ask.index - CENTRE) / 4, TUNING_SEED + ask.seed_number
                if not ask.full:
                    rung[ask.index] = method.rung_loss(rate, seed)
                    price += RUNG
                    continue
                price += 1 - RUNG if ask.seed_number == 0 and ask.index in rung else 1
                scores = method.answers(rate, seed, method.difficulty).astype(float)
                end[ask.index, ask.seed_number] = End(loss=method.loss(rate, seed), scores=tuple(scores))
        choice = choose(Seen(rung=rung, end=end), effort)
        rate = choice.rate if choice is not None else rate_at(CENTRE)
        return Tuned(math.log10(rate / rate_at(CENTRE)), price, choice is not None and choice.edge is None)

    return tune


def by_trials(trials: int) -> Callable[[Method], Tuned]:
    """Tuning by ``trials: N``: a grid over the card's two decades, one seed, the best validation score."""

    def tune(method: Method) -> Tuned:
        def decades(rate: float) -> float:
            return math.log10(rate / rate_at(CENTRE))

        middle = rate_at(CENTRE)
        rates = grid(middle / 10, middle * 10, trials)
        spacing = rates[1] / rates[0]
        while len(rates) < trials:
            points = [Point(rate, method.rung_loss(decades(rate), TUNING_SEED)) for rate in rates]
            rates.append(next_rate(points, spacing).rate)
        losses = [method.rung_loss(decades(rate), TUNING_SEED) for rate in rates]
        alive = [i for i, loss in enumerate(losses) if math.isfinite(loss)]
        kept = [alive[i] for i in survivors([(rates[i], losses[i]) for i in alive])] if alive else [0]
        ended = [
            (-float(method.answers(decades(rates[i]), TUNING_SEED, method.difficulty).mean()), loss, rates[i])
            for i in kept
            if math.isfinite(loss := method.loss(decades(rates[i]), TUNING_SEED))
        ]
        chosen = min(ended)[2] if ended else rates[0]
        closed = min(rates) < chosen < max(rates)
        return Tuned(decades(chosen), len(rates) * RUNG + len(kept) * (1 - RUNG), closed)

    return tune


def at_the_best(method: Method) -> Tuned:
    """What no tuning can beat: the rate that is best over fresh seeds."""
    line = method.best + np.arange(-0.8, 0.4, 0.0125)
    return Tuned(float(line[method.expected(line).argmax()]), 0.0, True)


PROTOCOLS: dict[str, Callable[[Method], Tuned]] = {
    "the best rate": at_the_best,
    "trials: 4": by_trials(4),
    "trials: 6": by_trials(6),
    **{name: by_effort(effort) for name, effort in EFFORTS.items()},
}


def study(world: World, tune: Callable[[Method], Tuned], number: int) -> ExampleScore:
    """Draw a study, tune every method, judge the final runs."""
    generator = np.random.default_rng([number, sum(map(ord, world.name))])
    valid = generator.standard_normal(VALID)
    test = generator.standard_normal(TEST)
    methods = [Method(world, generator, valid, int(generator.integers(2**62))) for _ in range(METHODS)]
    tuned = [tune(method) for method in methods]
    lost = []
    line = np.arange(-0.8, 0.4, 0.0125)
    for method, found in zip(methods, tuned):
        best = float(method.expected(method.best + line).max())
        lost.append(best - float(method.expected(np.array([found.rate]))[0]))
    trainings = {
        str(place): [
            Training(seed=seed, scores=m.answers(t.rate, seed, test).astype(float)) for seed in range(FINAL_SEEDS)
        ]
        for place, (m, t) in enumerate(zip(methods, tuned))
    }
    tested = compared(outcomes_of(trainings), sign=1.0, margin=0.02)
    names = list(trainings)
    verdicts = verdicts_of(tested, 0.95, 1.0)
    told = False
    for verdict, first, second in zip(verdicts, tested.of.first, tested.of.second):
        worse = int(names[second] if verdict == "better" else names[first])
        told = told or (verdict in ("better", "worse") and tuned[worse].closed)
    return ExampleScore(
        told_apart=told,
        lost=float(np.mean(lost)),
        worst=float(max(lost)),
        price=float(np.mean([t.price for t in tuned])),
        most=float(max(t.price for t in tuned)),
        open_share=float(np.mean([not t.closed for t in tuned])),
    )


def chunk(task: tuple[str, str, int, int]) -> tuple[str, str, int, list[dict[str, float]]]:
    """Some studies of a cell."""
    world_name, protocol, first, count = task
    world = next(w for w in WORLDS if w.name == world_name)
    found = [asdict(study(world, PROTOCOLS[protocol], number)) for number in range(first, first + count)]
    return world_name, protocol, first, found


def table(cells: dict[tuple[str, str], list[dict[str, float]]]) -> str:
    """Markdown, one row per world and protocol."""
    rows = [
        "| world | tuning | told apart % | points lost, mean | worst of eight | full trainings a method | dearest | "
        "not bracketed % |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (world, protocol), found in cells.items():

        def of(
            name: str, factor: float = 1.0, digits: int = 1, goal: str = "", found: list[dict[str, float]] = found
        ) -> str:
            values = np.array([f[name] for f in found], float)
            mean, error = values.mean(), values.std(ddof=1) / math.sqrt(len(values))
            text = f"{mean * factor:.{digits}f} ± {error * factor:.{digits}f}"
            return f"**{text}**" if goal and mean > GOALS[goal] + 2 * error else text

        rows.append(
            f"| {world} | {protocol} | {of('told_apart', 100, 1, 'false')} | {of('lost', 100, 2, 'lost')} | "
            f"{of('worst', 100, 2, 'worst')} | "
            f"{of('price', 1, 2)} | {of('most', 1, 1)} | {of('open_share', 100)} |"
        )
    return "\n".join(rows)


def measure(studies: int, worlds: Sequence[str], protocols: Sequence[str], workers: int, kept: Path) -> str:
    """Do what is missing, and give the table."""
    kept.mkdir(parents=True, exist_ok=True)
    cells: dict[tuple[str, str], list[dict[str, float]]] = {(w, p): [] for w in worlds for p in protocols}
    todo = []
    for world, protocol in cells:
        for first in range(0, studies, CHUNK):
            path = kept / f"{world}-{protocol}-{first}.json".replace(" ", "_").replace(":", "")
            if path.exists():
                cells[world, protocol] += json.loads(path.read_text())
            else:
                todo.append((world, protocol, first, min(CHUNK, studies - first)))
    with ProcessPoolExecutor(workers) as pool:
        for world, protocol, first, found in pool.map(chunk, todo):
            path = kept / f"{world}-{protocol}-{first}.json".replace(" ", "_").replace(":", "")
            path.write_text(json.dumps(found))
            cells[world, protocol] += found
    return table(cells)


def _described(world: World) -> str:
    near, far = world.offset
    loss, rung = world.loss_shift, world.rung_shift
    parts = (
        f"- *{world.name}*: best rate {near:g}–{far:g} decades from the card's centre",
        f"seeds' SD {100 * world.seed_sd:g} points at the best rate (times 0.5–1.5 by method), growing by "
        f"{world.growth:g} decades a decade",
        f"the loss's optimum {loss[0]:+g} ± {loss[1]:g} decades from the score's",
        f"the rung's {rung[0]:+g} ± {rung[1]:g}",
        f"cliff {world.cliff[0]:g}–{world.cliff[1]:g} decades above the best.",
    )
    return "; ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--world", action="append")
    parser.add_argument("--protocol", action="append")
    parser.add_argument("--kept", type=Path, default=KEPT)
    parser.add_argument("--out", type=Path, default=None)
    settings = parser.parse_args()
    shown = measure(
        settings.studies,
        settings.world or [w.name for w in WORLDS],
        settings.protocol or list(PROTOCOLS),
        settings.workers,
        settings.kept,
    )
    print(shown)
    if settings.out is not None:
        head = PREAMBLE.format(
            studies=settings.studies,
            test=TEST,
            valid=VALID,
            false=GOALS["false"],
            lost=100 * GOALS["lost"],
            worst=100 * GOALS["worst"],
            worlds="\n".join(_described(world) for world in WORLDS),
        )
        settings.out.write_text(head + shown + "\n")


if __name__ == "__main__":
    main()
