"""Methods of a study between base and adapter: what each strength keeps of the gain and of the base.

    python benchmarks/interpolation.py                    # after make demo; writes interpolation.md beside this file
    python benchmarks/interpolation.py results/NAME --methods rslora dora --keep 0.9

What is measured stays in the study's folder: a second call reads it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
    methods, left_out = (asked.methods, []) if asked.methods else _methods(study)
    parts = []
    for method in methods:
        found = study.interpolate(method, STRENGTHS, asked.keep)
        print(found, "\n")
        parts.append(found)
    words = ["python benchmarks/interpolation.py", _named(asked.folder), *_options(asked.methods)]
    text = _page(study, parts, left_out, " ".join(word for word in words if word))
    (HERE / "interpolation.md").write_text(text, encoding="utf-8")


def _methods(study: ps.Study) -> tuple[list[str], list[str]]:
    """Trained methods with strengths, the best score first; and why others have none."""
    results = study.results()
    found, left_out = [], []
    for candidate in results.verdict.candidates:
        runs = final_runs(results, candidate.method)
        if candidate.is_base or not runs:
            continue
        try:
            card_with_strengths(runs[0])
        except ps.PeftscopeError as error:
            left_out.append(str(error))
            continue
        found.append(candidate.method)
    return found, left_out


def _named(folder: Path) -> str:
    return "" if folder == DEMO else f"results/{folder.name}"


def _options(methods: list[str] | None) -> list[str]:
    return [] if methods is None else ["--methods", *methods]


def _page(study: ps.Study, parts: list[Interpolation], left_out: list[str], command: str) -> str:
    spec, (first, *_) = study.spec, parts
    methods = ", ".join(method.title + _rates(method.learning_rates) for method in spec.methods)
    lines = [
        "# Between base and adapter",
        "",
        f"Made by `{command}` from a study of `{spec.model.source}`, task {spec.task.name} as in `studies/demo.yaml`:",
        f"{spec.train.max_steps} steps, {first.curve.num_seeds} seeds, {first.curve.num_valid} validation and "
        f"{first.curve.num_test} test examples; methods {methods}.",
        "",
        "Weights at strength s are W0 + s (W1 - W0). The strength is chosen on validation; figures are of the test",
        "split. *Base kept* is exp(-forgetting).",
    ]
    for part in parts:
        lines += ["", f"## {part.method}", "", markdown_table(strength_table(part.curve, part.results.metric)), ""]
        lines += [f"- {line}" for line in strength_lines(part.curve, part.results.metric, part.method)]
        exact = "the records of base and adapter, to the last digit" if not part.deviations else "not the records'"
        lines += [f"- Strengths 0 and 1: {exact}, on {len(part.runs)} of {len(part.runs)} seeds."]
    lines += ["", *(f"Left out: {line}." for line in left_out)] if left_out else []
    return "\n".join(lines) + "\n"


def _rates(rates: Sequence[float] | None) -> str:
    return "" if rates is None else f" (learning rate {', '.join(f'{rate:g}' for rate in rates)})"


if __name__ == "__main__":
    main()
