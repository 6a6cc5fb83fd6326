"""What the statistics say of studies whose truth is known: coverage, false verdicts, power, equivalence.

    python benchmarks/statistics.py          writes statistics.md beside this file; one thread, some minutes
    python benchmarks/statistics.py 100      with 100 studies per cell, printed only

How studies are made stands in ``simulated.py``.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _give_way() -> None:
    """Hand the name to the standard library: scripts beside this one find this file first when they import it."""
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != HERE]
    sys.modules.pop("statistics", None)
    sys.modules["statistics"] = __import__("statistics")
    sys.path.insert(0, str(HERE))


if __name__ in ("statistics", "__main__"):
    _give_way()

if __name__ == "__main__":
    import time
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from simulated import EXAMPLES, LOOKS, MARGIN, TECHNIQUES, found_at_best, named_seeds, run_cell
    from worlds import CORRELATION

    ACCURACIES = (0.1, 0.5, 0.9)
    SEED_SDS = (0.0, 0.01, 0.03)
    GAP = 0.05

    def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
        """Lines of a Markdown table."""
        return [
            "| " + " | ".join(head) + " |",
            "|" + " ---: |" * len(head),
            *("| " + " | ".join(row) + " |" for row in rows),
        ]

    def percent(values: Sequence[float] | float) -> str:
        """In per cent, one decimal."""
        return f"{100.0 * float(np.mean(values)):.1f}"

    def cells() -> list[tuple[float, float]]:
        """Every accuracy with every standard deviation of seeds."""
        return [(accuracy, sd) for accuracy in ACCURACIES for sd in SEED_SDS]

    def identical(studies: int, say: Callable[[str], None]) -> list[str]:
        """Coverage and false verdicts where all techniques are the same."""
        rows = []
        for accuracy, sd in cells():
            for seeds, look in run_cell(accuracy=accuracy, seed_sd=sd, studies=studies, source=1).items():
                shares = (look.intervals, look.pairs, look.false_better / studies, look.false_tiers / studies)
                rows.append([f"{accuracy:g}", f"{100 * sd:g}", str(seeds), *map(percent, shares)])
            say(f"identical, accuracy {accuracy:g}, seed SD {100 * sd:g}: done")
        head = ("accuracy", "seed SD, points", "seeds", "coverage %", "of differences %", "a false *better* %",
                "top tier lacks one %")  # fmt: skip
        return table(head, rows)

    def planted(studies: int, say: Callable[[str], None]) -> list[str]:
        """Power: one technique better than seven identical ones."""
        rows = []
        for accuracy in ACCURACIES:
            found = run_cell(accuracy=accuracy, seed_sd=0.01, studies=studies, gap=GAP, source=2)
            for seeds, look in found.items():
                best = found_at_best(accuracy=accuracy, seed_sd=0.01, gap=GAP, seeds=seeds, studies=studies)
                shares = (look.found, best, look.found_any / studies, look.found_all / studies, look.lower_tier,
                          look.false_better / studies, look.false_tiers / studies)  # fmt: skip
                rows.append([f"{accuracy:g}", str(seeds), *map(percent, shares)])
            say(f"planted, accuracy {accuracy:g}: done")
        head = ("accuracy", "seeds", "each other %", "were variances known %", "any other %", "all seven %",
                "other in a lower tier %", "a false *better* %", "top tier lacks it %")  # fmt: skip
        return table(head, rows)

    def equivalence(studies: int, say: Callable[[str], None]) -> list[str]:
        """At the number of seeds the formula names, at half of it, and where techniques differ by the margin."""
        rows = []
        for accuracy, sd in cells():
            named = named_seeds(accuracy, sd)
            looks = sorted({*(s for s in LOOKS if s < named), max(named // 2, 2), named})
            same = run_cell(accuracy=accuracy, seed_sd=sd, studies=studies, looks=looks, full=False, source=3)
            far = run_cell(
                accuracy=accuracy, seed_sd=sd, studies=studies, looks=looks, gap=MARGIN, full=False, source=4
            )
            shares = (same[named].equivalent, same[max(named // 2, 2)].equivalent, same[looks[0]].equivalent)
            early = np.any([look.false_equivalent for seeds, look in far.items() if seeds < named], axis=0)
            rows.append(
                [
                    f"{accuracy:g}",
                    f"{100 * sd:g}",
                    str(named),
                    *map(percent, shares),
                    str(looks[0]),
                    percent(early),
                    percent(far[named].false_equivalent),
                ]
            )
            say(f"equivalence, accuracy {accuracy:g}, seed SD {100 * sd:g}, {named} seeds: done")
        head = ("accuracy", "seed SD, points", "seeds named", "declared there %", "at half as many %",
                "at fewest %", "fewest", "false before %", "false there %")  # fmt: skip
        return table(head, rows)

    def report(studies: int, say: Callable[[str], None]) -> list[str]:
        """The whole page."""
        return [
            f"Simulated truth, {studies:,} studies per cell, {TECHNIQUES} techniques, {EXAMPLES:,} examples, "
            f"within-example correlation {CORRELATION:g}; written by `python benchmarks/statistics.py`, which says how "
            "studies are made (`simulated.py`).",
            "",
            "**Identical techniques.** Share of 95 % intervals that hold the truth, of scores and of paired "
            "differences; share of studies in which any two techniques are told apart (28 pairs, Holm with Shaffer's "
            "counts); share in which the top tier is not all eight.",
            "",
            *identical(studies, say),
            "",
            f"**One technique {100 * GAP:g} points better, seed SD 1 point.** *Each other*: the mean share of the "
            "seven others that it is called better than, after correction over all 28 pairs; *were variances "
            "known*: the same for a test that is told every variance, which no test can do much better than; "
            "*any*, *all*: share of studies in which it is called better than at least one, than all of them. "
            "*Lower tier*: share of the others that are in a lower tier, itself being in the top one. The last "
            "two are errors: two of the seven others told apart; the best not in the top tier.",
            "",
            *planted(studies, say),
            "",
            f"**Equivalence, margin {100 * MARGIN:g} points.** The number of seeds is what "
            "`power.seeds_for_equivalence` names; *declared* is the share of the 28 identical pairs. The last two "
            f"columns are errors: one technique is really {100 * MARGIN:g} points better, and in this share of studies "
            "it is called equivalent to any of the seven others; *before*: by luck, at any of the looks before the "
            "named number (3, 5, 10 seeds, half of the named number), *there*: at the named number.",
            "",
            *equivalence(studies, say),
        ]

    def main() -> None:
        """Simulate, print, and write where the number of studies is the full one."""
        studies = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
        start = time.time()
        lines = report(studies, lambda line: print(f"{time.time() - start:6.0f} s  {line}", file=sys.stderr))
        print("\n".join(lines))
        if len(sys.argv) < 2:
            (HERE / "statistics.md").write_text("\n".join(lines) + "\n", encoding="utf-8")

    main()
