"""The cells of ``uncertainty.py``: what each asks, how they are spread over the cores, and their tables."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from simulated import EXAMPLES, LOOKS, MARGIN, METHODS, Look, found_at_best, named_seeds, run_cell
from worlds import CORRELATION, DEMO_SDS, World, eight
from worlds_judged import Seen, answers_seen, missing_seen, more_seen, pairs_seen, planned_seen, tails_seen

from peftscope.schema.seeds import SeedPlan

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "results" / "uncertainty-benchmark"
PARTS = 4
"""A cell of a world is done in, so that a kill loses little."""

ACCURACIES = (0.1, 0.5, 0.9)
SEED_SDS = (0.0, 0.01, 0.03)
GAP = 0.05

UNSTEADY = World(seed_sds=eight(0.06, 0.01))
LEAD = World(accuracies=eight(0.55, 0.5))
DEMO = World(seed_sds=(0.065,) * 8, examples=400)
MANY = World(
    accuracies=(0.5,) * 45, seed_sds=(0.03,) * 45, seeds=(3,) * 45, collapse=(0.0,) * 45, planned=(0,) * 45,
    diverge=(0.0,) * 45,
)  # fmt: skip
COLLAPSES = World(accuracies=eight(0.7, 0.5), collapse=(0.1,) * 8)
WITH_BASE = World(base=0.3, seed_sds=(0.02,) * 8)

PAIRS: Mapping[str, World] = {
    "all alike, seed SD 1": World(),
    "one of seed SD 6, others 1": UNSTEADY,
    "one of seed SD 6, others 1: 5 seeds": replace(UNSTEADY, seeds=(5,) * 8),
    "seed SDs as in the demo, 0.7 to 13": World(seed_sds=DEMO_SDS),
    "seed SDs as in the demo: 400 examples": World(seed_sds=DEMO_SDS, examples=400),
    "seed SDs as in the demo: 5 seeds": World(seed_sds=DEMO_SDS, seeds=(5,) * 8),
    "half of seed SD 4, half 1": World(seed_sds=(0.01,) * 4 + (0.04,) * 4),
    "the one of seed SD 6 with one seed": replace(UNSTEADY, seeds=(1, *[3] * 7)),
    "one 5 points better, seed SD 1": LEAD,
    "one 5 points better: 4 seeds": replace(LEAD, seeds=(4,) * 8),
    "one 5 points better: 5 seeds": replace(LEAD, seeds=(5,) * 8),
    "one 5 points better: seeds shared by .7": replace(LEAD, shared=0.7),
    "all alike, seeds shared by .7": World(shared=0.7),
    "eight at the demo's noise": DEMO,
    "forty-five alike, seed SD 3": MANY,
    "each training collapses with 10 %, one leads by 20 points": COLLAPSES,
    "held back: seed effects with heavy tails, SD 3": World(heavy=True, seed_sds=(0.03,) * 8),
    "held back: accuracy 85 %, SDs 0.5 to 4, 2 to 5 seeds": World(
        accuracies=(0.85,) * 8, seed_sds=(0.005, 0.005, 0.01, 0.01, 0.02, 0.02, 0.04, 0.04), examples=500,
        seeds=(5, 2, 3, 4, 2, 5, 3, 2),
    ),
}  # fmt: skip
GROUPED: Mapping[str, World] = {
    "a fifth of what one finds hard is by document": World(per_group=10, own_by_group=0.2),
    "a half of it": World(per_group=10, own_by_group=0.5),
    "half of what all find hard is by document": World(per_group=10, hard_by_group=0.5),
    "100 rows in triplicate": World(examples=100, copies=3),
    "20 documents of 25, a fifth and a half": World(examples=500, per_group=25, own_by_group=0.2, hard_by_group=0.5),
    "one 5 points better, nothing hangs together": World(per_group=10, accuracies=eight(0.55, 0.5)),
}
GROUPS: Mapping[str, World] = {
    f"{cell}{': not told' if not told else ''}": replace(world, told=told)
    for cell, world in GROUPED.items() for told in (True, False)
}  # fmt: skip
TAILS: Mapping[str, int] = {f"{count} examples": count for count in (100, 200, 400, 1_000)}
MISSING: Mapping[str, World] = {"one lacks its hardest 8 % of answers": World()}
ANSWERS: Mapping[str, World] = {
    "demo's noise, spread 5": replace(DEMO, spread=0.05, base=0.2),
    "one collapsed in 1 of 3": replace(WITH_BASE, planned=(1, *[0] * 7)),
    "one collapsed in 2 of 3": replace(WITH_BASE, planned=(2, *[0] * 7)),
    "the best diverges in a third, three are worth more": replace(
        WITH_BASE, accuracies=(0.6, *[0.55] * 3, *[0.45] * 4), diverge=eight(1 / 3, 0.0)
    ),
    "spread 8": replace(WITH_BASE, spread=0.08),
    "spread 3": replace(WITH_BASE, spread=0.03),
    "spread 1": replace(WITH_BASE, spread=0.01),
}
MORE: Mapping[str, World] = {
    "spread 8": World(spread=0.08, seed_sds=(0.03,) * 8, seeds=(23,) * 8),
    "spread 3": World(spread=0.03, seed_sds=(0.02,) * 8, seeds=(23,) * 8),
    "spread 1": World(spread=0.01, seed_sds=(0.01,) * 8, seeds=(23,) * 8),
}
TEN, FIVE = SeedPlan(first=3, most=10), SeedPlan(first=3, most=5)
PLANNED: Mapping[str, tuple[World, SeedPlan]] = {
    "identical, seed SD 1: 3 to 10": (World(seeds=(10,) * 8), TEN),
    "one of seed SD 6, others 1: 3 to 10": (World(seeds=(10,) * 8, seed_sds=eight(0.06, 0.01)), TEN),
    "seed SDs as in the demo: 3 to 10, 400 examples": (World(seeds=(10,) * 8, seed_sds=DEMO_SDS, examples=400), TEN),
    "one 5 points better: 3 to 4": (World(seeds=(4,) * 8, accuracies=eight(0.55, 0.5)), SeedPlan(first=3, most=4)),
    "one 5 points better: 3 to 5": (World(seeds=(5,) * 8, accuracies=eight(0.55, 0.5)), FIVE),
    "one 5 points better: 3 to 10": (World(seeds=(10,) * 8, accuracies=eight(0.55, 0.5)), TEN),
    "spread 3, seed SD 2: 3 to 10": (World(seeds=(10,) * 8, spread=0.03, seed_sds=(0.02,) * 8), TEN),
}
MISSES = """
**What three seeds do not reach, and why.** The interval of one method whose seeds scatter six times as much as the
others' holds the truth in 90 % of studies, at five seeds in 94: two degrees of freedom say little, and what is lent
from the others, without which differences are not found, pulls it down. One method 5 points better is found in
half of the pairs: what unequal seeds and later looks need of the error is taken from there; four seeds find three
quarters, growing ones two thirds at 3.6 of each. Where methods have two to five seeds of unequal scatter, equals
are told apart in 7 % instead of 5. Where methods differ by no more than a point, a chance to be best above one
half, and the probability behind a number of more seeds, are stated too high: their spread is then guessed from noise.
Where one training in ten collapses, studies that saw none tell intervals of those that went right.
"""
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0001)

ASKED: Mapping[str, Any] = {
    "pairs": pairs_seen, "answers": answers_seen, "more": more_seen, "groups": pairs_seen, "tails": tails_seen,
    "missing": missing_seen,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AssignedJob:
    """A part of a cell."""

    kind: Literal[
        "pairs", "answers", "more", "planned", "groups", "tails", "missing", "identical", "planted", "equivalence"
    ]
    cell: str
    part: int
    studies: int

    @property
    def place(self) -> Path:
        """File of what it came to."""
        plain = "".join(c if c.isalnum() else "-" for c in f"{self.kind} {self.cell} {self.part}")
        return FOLDER / str(self.studies) / f"{plain}.json"


def worlds_of(kind: str) -> Mapping[str, Any]:
    """World by cell."""
    worlds: dict[str, Mapping[str, Any]] = {
        "pairs": PAIRS, "answers": ANSWERS, "more": MORE, "planned": PLANNED, "groups": GROUPS, "tails": TAILS,
        "missing": MISSING,
    }  # fmt: skip
    return worlds[kind]


def do(job: AssignedJob) -> Any:
    """What a part came to, as plain data."""
    if job.kind in ASKED:
        world = worlds_of(job.kind)[job.cell]
        source = [list(worlds_of(job.kind)).index(job.cell), job.part, len(job.kind)]
        return asdict(ASKED[job.kind](world, job.studies, source=source))
    if job.kind == "planned":
        world, plan = PLANNED[job.cell]
        source = [list(PLANNED).index(job.cell), job.part, len(job.kind)]
        return asdict(planned_seen(world, job.studies, plan=plan, source=source))
    accuracy, sd = map(float, job.cell.split())
    if job.kind == "identical":
        return _plain(run_cell(accuracy=accuracy, seed_sd=sd, studies=job.studies, source=1))
    if job.kind == "planted":
        return _plain(run_cell(accuracy=accuracy, seed_sd=sd, studies=job.studies, gap=GAP, source=2))
    named = named_seeds(accuracy, sd)
    looks = sorted({*(s for s in LOOKS if s < named), max(named // 2, 2), named})
    how: dict[str, Any] = {"accuracy": accuracy, "seed_sd": sd, "studies": job.studies, "looks": looks, "full": False}
    return {"same": _plain(run_cell(**how, source=3)), "far": _plain(run_cell(**how, gap=MARGIN, source=4))}


def _plain(looks: Mapping[int, Look]) -> dict[str, Any]:
    return {str(seeds): asdict(look) for seeds, look in looks.items()}


def jobs(studies: int) -> list[AssignedJob]:
    """All parts, the longest first."""
    cells = [f"{accuracy:g} {sd:g}" for accuracy in ACCURACIES for sd in SEED_SDS]
    found = [AssignedJob(kind="equivalence", cell=cell, part=0, studies=studies) for cell in reversed(cells)]
    for kind in ("planned", "answers", "more", "pairs", "groups", "tails", "missing"):
        each = max(studies // PARTS, 1)
        found += [AssignedJob(kind=kind, cell=c, part=p, studies=each) for c in worlds_of(kind) for p in range(PARTS)]
    found += [AssignedJob(kind="identical", cell=cell, part=0, studies=studies) for cell in cells]
    found += [AssignedJob(kind="planted", cell=f"{a:g} 0.01", part=0, studies=studies) for a in ACCURACIES]
    return found


def done(studies: int) -> dict[tuple[str, str], list[Any]]:
    """What all parts came to, by kind and cell; those not done yet are done on every core."""
    left = [job for job in jobs(studies) if not job.place.is_file()]
    start = time.time()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        waiting = {pool.submit(do, job): job for job in left}
        for number, future in enumerate(as_completed(waiting), start=1):
            job = waiting[future]
            job.place.parent.mkdir(parents=True, exist_ok=True)
            draft = job.place.with_suffix(".part")
            draft.write_text(json.dumps(future.result(), default=float), encoding="utf-8")
            draft.replace(job.place)
            print(f"{time.time() - start:6.0f} s  {number} of {len(left)}: {job.kind}, {job.cell}", file=sys.stderr)
    found: dict[tuple[str, str], list[Any]] = {}
    for job in jobs(studies):
        found.setdefault((job.kind, job.cell), []).append(json.loads(job.place.read_text(encoding="utf-8")))
    return found


def seen_of(parts: Sequence[Mapping[str, Any]]) -> Seen:
    """The parts of a world as one."""
    seen = Seen()
    for part in parts:
        seen.merge(Seen(counts=part["counts"], said={k: [(p, t) for p, t in v] for k, v in part["said"].items()}))
    return seen


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table, the first column to the left."""
    return [
        "| " + " | ".join(head) + " |",
        "| --- |" + " ---: |" * (len(head) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def percent(values: Sequence[float] | float) -> str:
    """In per cent, one decimal."""
    return f"{100.0 * float(np.mean(values)):.1f}"


def share(values: Sequence[float] | None) -> str:
    """In per cent with the standard error of the mean over studies."""
    if not values:
        return "–"
    error = float(np.std(values)) / np.sqrt(len(values))
    return f"{percent(values)} ± {100.0 * error:.1f}"


def pair_rows(found: Mapping[tuple[str, str], list[Any]]) -> list[list[str]]:
    """Worlds in which pairs are judged."""
    names = ("false_better", "found", "answered", "cover_first", "cover", "picked", "picked_plain")
    rows = []
    for cell in PAIRS:
        counts = seen_of(found["pairs", cell]).counts
        row = [cell, *(share(counts.get(name)) for name in names)]
        if counts.get("judged_once"):
            row[0] += f" (judged in {percent(counts['judged_once'])} %)"
        rows.append(row)
    return rows


def group_rows(found: Mapping[tuple[str, str], list[Any]]) -> list[list[str]]:
    """Worlds in which examples hang together."""
    names = ("false_better", "found", "cover", "picked")
    return [[cell, *(share(seen_of(found["groups", cell]).counts.get(name)) for name in names)] for cell in GROUPS]


def tail_rows(found: Mapping[tuple[str, str], list[Any]]) -> list[list[str]]:
    """Losses with a long tail."""
    names = ("cover", "cover_students", "false_better")
    return [[cell, *(share(seen_of(found["tails", cell]).counts.get(name)) for name in names)] for cell in TAILS]


def missing_rows(found: Mapping[tuple[str, str], list[Any]]) -> list[list[str]]:
    """Answers that are not there."""
    names = ("false_better", "bounded", "off", "off_common")
    return [[cell, *(share(seen_of(found["missing", cell]).counts.get(name)) for name in names)] for cell in MISSING]


def planned_rows(found: Mapping[tuple[str, str], list[Any]]) -> list[list[str]]:
    """Worlds in which more seeds go where they decide."""
    rows = []
    for cell in PLANNED:
        counts = seen_of(found["planned", cell]).counts
        names = ("false_better", "false_equivalent", "found", "answered", "cover", "cover_pairs", "picked")
        rows.append([cell, f"{np.mean(counts['seeds']):.2f}", *(share(counts.get(name)) for name in names)])
    return rows


def answer_rows(found: Mapping[tuple[str, str], list[Any]]) -> list[list[str]]:
    """Worlds in which something is recommended."""
    names = (
        "took_one", "cheaper_named", "claims_no_worse", "claim_far_worse", "cheaper_went_wrong", "took_risky", "silent",
    )  # fmt: skip
    return [[cell, *(share(seen_of(found["answers", cell]).counts.get(n)) for n in names)] for cell in ANSWERS]


def calibration_rows(found: Mapping[tuple[str, str], list[Any]], what: str) -> list[list[str]]:
    """How often it was so, by what was stated; and the Brier score."""
    rows = []
    for cell in ("demo's noise, spread 5", "spread 8", "spread 3", "spread 1"):
        pairs = np.array(seen_of(found["answers", cell]).said[what], np.float64)
        row = [cell]
        for low, high in pairwise(BINS):
            inside = pairs[(pairs[:, 0] >= low) & (pairs[:, 0] < high)]
            if len(inside) < 30:
                row.append("–")
                continue
            error = np.sqrt(inside[:, 1].mean() * (1.0 - inside[:, 1].mean()) / len(inside))
            row.append(f"{100 * inside[:, 0].mean():.0f} → {100 * inside[:, 1].mean():.0f} ± {100 * error:.0f}")
        rows.append([*row, f"{float(np.mean((pairs[:, 0] - pairs[:, 1]) ** 2)):.3f}"])
    return rows


def more_rows(found: Mapping[tuple[str, str], list[Any]]) -> list[list[str]]:
    """Whether what is named suffices."""
    rows = []
    for cell in MORE:
        counts = seen_of(found["more", cell]).counts
        rows.append([cell, share(counts.get("named")), share(counts.get("more_decides"))])
    return rows


def identical_rows(found: Mapping[tuple[str, str], list[Any]], studies: int) -> list[list[str]]:
    """Coverage and false verdicts where all methods are the same."""
    rows = []
    for accuracy in ACCURACIES:
        for sd in SEED_SDS:
            for seeds, look in found["identical", f"{accuracy:g} {sd:g}"][0].items():
                shares = (
                    look["intervals"],
                    look["pairs"],
                    look["false_better"] / studies,
                    look["false_tiers"] / studies,
                )
                rows.append([f"{accuracy:g}", f"{100 * sd:g}", seeds, *map(percent, shares)])
    return rows


def planted_rows(found: Mapping[tuple[str, str], list[Any]], studies: int) -> list[list[str]]:
    """Power: one method better than seven identical ones."""
    rows = []
    for accuracy in ACCURACIES:
        for seeds, look in found["planted", f"{accuracy:g} 0.01"][0].items():
            best = found_at_best(accuracy=accuracy, seed_sd=0.01, gap=GAP, seeds=int(seeds), studies=studies)
            shares = (look["found"], best, look["found_any"] / studies, look["found_all"] / studies, look["lower_tier"],
                      look["false_better"] / studies, look["false_tiers"] / studies)  # fmt: skip
            rows.append([f"{accuracy:g}", seeds, *map(percent, shares)])
    return rows


def equivalence_rows(found: Mapping[tuple[str, str], list[Any]]) -> list[list[str]]:
    """At the number of seeds the formula names, at half of it, and where methods differ by the margin."""
    rows = []
    for accuracy in ACCURACIES:
        for sd in SEED_SDS:
            cell = found["equivalence", f"{accuracy:g} {sd:g}"][0]
            named = named_seeds(accuracy, sd)
            fewest = min(map(int, cell["same"]))
            same = [cell["same"][str(n)]["equivalent"] for n in (named, max(named // 2, 2), fewest)]
            far = {int(n): look["false_equivalent"] for n, look in cell["far"].items()}
            early = np.any([wrong for n, wrong in far.items() if n < named], axis=0)
            rows.append([f"{accuracy:g}", f"{100 * sd:g}", str(named), *map(percent, same), str(fewest),
                         percent(early), percent(far[named])])  # fmt: skip
    return rows


def report(found: Mapping[tuple[str, str], list[Any]], studies: int) -> list[str]:
    """The whole page."""
    bins = [f"{100 * low:.0f}–{min(100 * high, 100):.0f} %" for low, high in pairwise(BINS)]
    return [
        f"Simulated truth, {studies:,} studies per cell, {METHODS} methods, three seeds, {EXAMPLES:,} examples, "
        f"accuracy 50 %, within-example correlation {CORRELATION:g}, where a line says nothing else; written by "
        "`python benchmarks/uncertainty.py`, which says how studies are made. SDs, spreads and gaps are in points; ± "
        "is one standard error of the simulation.",
        "",
        " ".join(MISSES.split()),
        "",
        "**Pairs, intervals, the picked best.** *False*: share of studies in which any two methods of equal worth "
        "are told apart, or two are put the wrong way round. *Found*: pairs that differ and are called so. *Answered*: "
        "pairs that are called better, worse or equivalent. *Covers*: 95 % intervals that hold the truth, of the "
        "first method (the one that is otherwise than the rest), of all, and of the best in its study: as told "
        "with its having been picked allowed for, and plain. A method's worth is the expected score of one "
        "training, collapses included.",
        "",
        *table(("world", "false %", "found %", "answered %", "covers first %", "all %", "the picked %", "plain %"),
               pair_rows(found)),
        "",
        "**Seeds where they decide.** Three seeds each, then more for the best and what they may tell from it; an "
        "error of 5 % over all looks. *Seeds*: of a method on average; *equivalent*: share of studies in which two "
        f"that differ by more than {100 * MARGIN:g} points are called so; intervals are those told at the end.",
        "",
        *table(("world: seeds", "seeds", "false %", "false equivalent %", "found %", "answered %", "covers %",
                "of differences %", "the picked %"), planned_rows(found)),
        "",
        "**Examples that hang together.** Ten examples a document where nothing else is said; the study is told the "
        "documents, or is not.",
        "",
        *table(("world", "false %", "found %", "covers %", "the picked %"), group_rows(found)),
        "",
        "**Long tails.** Losses that are lognormal over examples (sigma 1.5), eight identical methods; the mean is "
        "judged. *Covers*: 95 % intervals that hold it, as told and as Student's would.",
        "",
        *table(("losses", "covers %", "Student's %", "false %"), tail_rows(found)),
        "",
        "**Missing answers.** Eight identical methods. *Bounded*: share of studies in which the score with all "
        "answers lies between what is told and what is told that it could be; *off*: what is told, less the score with "
        "all answers; *as common*: the same of the score on what all answered.",
        "",
        *table(("world", "false %", "bounded %", "off, points", "as common, points"), missing_rows(found)),
        "",
        "**What is recommended.** *Takes one*: share of studies in which a method is recommended; *names a "
        "cheaper*: in which another is named that takes less memory. *Claims*: share of studies in which a cheaper "
        "method is said to be worse by less "
        f"than {100 * MARGIN:g} points if at all; *false*: that one is more than 5 points worse. *Went wrong*: the "
        "cheaper one collapsed or diverged in the study. *Risky*: the choice itself did; *silent*: of these, the "
        "heading does not say so.",
        "",
        *table(("world", "takes one %", "names a cheaper %", "claims no worse %", "false claims %",
                "cheaper went wrong %", "choice risky %", "silent %"),
               answer_rows(found)),
        "",
        "**Stated probabilities, by what was stated (mean stated → share that was so).** On the front of accuracy and "
        "memory:",
        "",
        *table(("world", *bins, "Brier"), calibration_rows(found, "member")),
        "",
        "Best of all:",
        "",
        *table(("world", *bins, "Brier"), calibration_rows(found, "best")),
        "",
        "**More seeds.** *Named*: share of the undecided pairs for which a number of at most 20 is named, stated to "
        "decide with a probability of 80 %; *decides*: that many more seeds of one such pair, drawn, do.",
        "",
        *table(("world", "named %", "decides %"), more_rows(found)),
        "",
        "**Identical methods.** Share of 95 % intervals that hold the truth, of scores and of paired "
        "differences; share of studies in which any two methods are told apart (28 pairs); share in which the top "
        "tier is not all eight.",
        "",
        *table(("accuracy", "seed SD", "seeds", "coverage %", "of differences %", "a false *better* %",
                "top tier lacks one %"), identical_rows(found, studies)),
        "",
        f"**One method {100 * GAP:g} points better, seed SD 1.** *Each other*: the mean share of the "
        "seven others that it is called better than, after correction over all 28 pairs; *were variances "
        "known*: the same for a test that is told every variance, which no test can do much better than; "
        "*any*, *all*: share of studies in which it is called better than at least one, than all of them. "
        "*Lower tier*: share of the others that are in a lower tier, itself being in the top one. The last "
        "two are errors: two of the seven others told apart; the best not in the top tier.",
        "",
        *table(("accuracy", "seeds", "each other %", "were variances known %", "any other %", "all seven %",
                "other in a lower tier %", "a false *better* %", "top tier lacks it %"), planted_rows(found, studies)),
        "",
        f"**Equivalence, margin {100 * MARGIN:g} points.** The number of seeds is what "
        "`power.seeds_for_equivalence` names; *declared* is the share of the 28 identical pairs. The last two "
        f"columns are errors: one method is really {100 * MARGIN:g} points better, and in this share of studies "
        "it is called equivalent to any of the seven others; *before*: by luck, at any of the looks before the "
        "named number (3, 5, 10 seeds, half of the named number), *there*: at the named number.",
        "",
        *table(("accuracy", "seed SD", "seeds named", "declared there %", "at half as many %", "at fewest %", "fewest",
                "false before %", "false there %"), equivalence_rows(found)),
    ]  # fmt: skip


def main() -> None:
    """Simulate what is not there yet, print, and write where the number of studies is the full one."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    lines = report(done(studies), studies)
    print("\n".join(lines))
    if len(sys.argv) < 2:
        (HERE / "uncertainty.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
