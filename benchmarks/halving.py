"""Whether successive halving ends where the whole grid does, and at what share of its steps.

    python benchmarks/halving.py            (about a quarter of an hour on two cores; writes halving.md)

The demo study is tuned twice, once with its rungs (what ``make demo`` has left is taken) and once with every trial
trained to its end. Both share one folder: final runs of a configuration that both chose are the same runs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from peftscope.analysis.tuning import Tuning
from peftscope.schema.reader import load_yaml
from peftscope.study.results import StudyResults
from peftscope.study.study import Study
from peftscope.views.units import interval_text, rate_text

HERE = Path(__file__).parent
DEMO = HERE.parent / "studies" / "demo.yaml"
DONE = HERE.parent / "results" / "demo"


def main() -> None:
    """Measure and write the table."""
    study = load_yaml(DEMO.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if DONE.is_dir():
            shutil.copytree(DONE, folder / "results")
        halving = _found(study, folder)
        grid = _found({**study, "tuning": {**study["tuning"], "rungs": []}}, folder)
    tops = [results.verdict.tiers[0] for results in (halving, grid)]
    lines = [
        "The demo study (`studies/demo.yaml`) tuned with its rungs and with every trial trained to its end; accuracy % "
        "[95 %] of the final runs. Written by `python benchmarks/halving.py`.",
        "",
        f"Steps of all trials: halving {_steps(halving):,}, whole grid {_steps(grid):,}: "
        f"**{_steps(halving) / _steps(grid):.0%}**.",
        f"Top tier: halving **{', '.join(tops[0])}**; whole grid **{', '.join(tops[1])}**: "
        f"**{'the same' if set(tops[0]) == set(tops[1]) else 'not the same'}**.",
        "",
        "| method | lr, halving | lr, grid | accuracy, halving | accuracy, grid | steps, halving | steps, grid |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_row(method, halving, grid) for method in [t.method for t in halving.tunings]),
    ]
    (HERE / "halving.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _found(study: dict[str, object], folder: Path) -> StudyResults:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "peftscope",
        "compare",
        str(path),
        "--out",
        str(folder / "results"),
        "--workers",
        "2",
    ]
    done = subprocess.run(command, check=False)
    assert done.returncode in (0, 1), f"compare ended with {done.returncode}"
    return Study.load(folder / "results").results()


def _steps(results: StudyResults) -> int:
    return sum(tuning.num_steps for tuning in results.tunings)


def _tuning(results: StudyResults, method: str) -> Tuning:
    return next(tuning for tuning in results.tunings if tuning.method == method)


def _row(method: str, halving: StudyResults, grid: StudyResults) -> str:
    cells = [method]
    for results in (halving, grid):
        chosen = _tuning(results, method).chosen
        cells.append(rate_text(chosen.learning_rate if chosen else None))
    for results in (halving, grid):
        score = results.verdict.candidate(method).score
        cells.append(interval_text(score.value, score.interval, percent=True) if score else "–")
    cells += [f"{_tuning(results, method).num_steps:,}" for results in (halving, grid)]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
