"""Methods of a study between base and adapter: what each strength keeps of the gain and of the base.

    python benchmarks/interpolation.py                    # after make demo; writes interpolation.md beside this file
    python benchmarks/interpolation.py results/NAME --methods rslora dora --keep 0.9

What is measured stays in the study's folder: a second call reads it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import peftscope as ps
from peftscope.study.interpolation import Interpolation
from peftscope.study.strengths import card_with_strengths, final_runs
from peftscope.views.strength import strength_lines, strength_table
from peftscope.views.table import markdown_table

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "results" / "demo"
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=DEMO, help="of the study's results")
    parser.add_argument("--methods", nargs="+", help="all that have weights between base and adapter by default")
    parser.add_argument("--keep", type=float, default=0.9, help="share of the gain")
    asked = parser.parse_args()
    study = ps.Study.load(asked.folder)
    parts = []
    started = time.perf_counter()
    for method in asked.methods or _methods(study):
        found = study.interpolate(method, STRENGTHS, asked.keep)
        print(found, "\n")
        parts.append(found)
    words = " ".join(["python benchmarks/interpolation.py", _named(asked.folder), *_options(asked.methods)])
    text = _page(study, parts, words.strip(), time.perf_counter() - started)
    (HERE / "interpolation.md").write_text(text, encoding="utf-8")


def _methods(study: ps.Study) -> list[str]:
    """Trained methods with strengths, the best score first."""
    results = study.results()
    found = []
    for candidate in results.verdict.candidates:
        runs = final_runs(results, candidate.method)
        if candidate.is_base or not runs:
            continue
        try:
            card_with_strengths(runs[0])
        except ps.PeftscopeError as error:
            print(f"left out: {error}")
            continue
        found.append(candidate.method)
    return found


def _named(folder: Path) -> str:
    return "" if folder == DEMO else f"results/{folder.name}"


def _options(methods: list[str] | None) -> list[str]:
    return [] if methods is None else ["--methods", *methods]


def _page(study: ps.Study, parts: list[Interpolation], command: str, seconds: float) -> str:
    spec, (first, *_) = study.spec, parts
    lines = [
        "# Between base and adapter",
        "",
        f"Made by `{command}` ({seconds:.0f} s, what lay there already left out) from a study named `{spec.name}`:",
        f"{spec.model.source}, task {spec.task.name}, {spec.train.max_steps} steps, {first.curve.num_seeds} seeds, "
        f"{first.curve.num_valid} validation and {first.curve.num_test} test examples.",
        "",
        "Weights at strength s are W0 + s (W1 - W0). The strength is chosen on validation; figures are of the test",
        "split. *Base kept* is exp(-forgetting).",
    ]
    for part in parts:
        lines += ["", f"## {part.method}", "", markdown_table(strength_table(part.curve, part.results.metric)), ""]
        lines += [f"- {line}" for line in strength_lines(part.curve, part.results.metric, part.method)]
        exact = "the records of base and adapter, to the last digit" if not part.deviations else "not the records'"
        lines += [f"- Strengths 0 and 1: {exact}, on {len(part.runs)} of {len(part.runs)} seeds."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
