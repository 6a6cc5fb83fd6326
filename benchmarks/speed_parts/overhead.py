"""What of a run is neither training steps nor scoring, and what the loop itself costs."""

from __future__ import annotations

import statistics
import tempfile
from typing import Any

from speed_parts.bench import GENERAL_TOKENS, METHODS, NANO, Bench, stories_task
from speed_parts.compared import Goal

__all__ = ["goals", "lines", "measure"]

TITLE = "Overhead"
MARK, HARNESS_MARK = 0.10, 0.03
"""At most, of a run what is neither training steps nor the test split's scoring, and what the loop adds to a step."""
HARNESS_TURNS = 3
"""Of the loop and the same by hand, one after the other: single ones scatter by more than the mark."""
NO_OP = {"name": "lora", "knobs": {"r": 1}}
"""So little is trained that the model's own work is all there is beside the loop's."""


def measure(bench: Bench) -> dict[str, Any]:
    """Seconds of a study's runs by stage, and of the loop's steps against the same by hand."""
    sizes = bench.sizes
    small = stories_task(train=400, valid=60, test=200)
    found: dict[str, Any] = {"steps": sizes.overhead_steps, "runs": {}, "extrapolated": {}}
    found["runs"]["nano-lm"] = _run(bench, NANO, small, sizes.overhead_steps, 8, seeds=2)
    if bench.has_time and sizes.model != NANO:
        # As many steps as fit; its training is scaled up to the same number.
        row = _run(bench, sizes.model, sizes.task, sizes.slow_steps, sizes.batch_size)
        row["stages"].pop("baseline", None)  # done once for all runs of a study, here by the only one
        factor = sizes.overhead_steps / sizes.slow_steps
        row["stages"]["train"] += (factor - 1) * row["train_time_s"]
        row["train_time_s"] *= factor
        name = sizes.model.partition(":")[2]
        found["runs"][name], found["extrapolated"][name] = row, sizes.slow_steps
    elif sizes.model != NANO:
        bench.problems.append(f"{sizes.model}: no time")
    job = {"model": NANO, "task": small, "batch_size": 8, "title": "no-op", "method": NO_OP}
    found["harness"] = bench.peftscope("harness", **job, steps=sizes.harness_steps, repetitions=HARNESS_TURNS)
    return found


def _run(
    bench: Bench, model: str, task: dict[str, Any], steps: int, batch_size: int, *, seeds: int = 1
) -> dict[str, Any]:
    """Seconds of the last of so many runs: the first also does what all share."""
    study = {
        "name": "overhead",
        "model": model,
        "task": {**task, "general_tokens": GENERAL_TOKENS},
        "methods": [METHODS["lora"]],
        "seeds": list(range(seeds)),
        "train": {"max_steps": steps, "batch_size": batch_size, "memory": "fast"},
        "include_base": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        runs: list[dict[str, Any]] = bench.peftscope("stages", study=study, folder=folder)["runs"]
    return runs[-1]


def shares(row: dict[str, Any]) -> dict[str, float]:
    """Of a run's time: training steps, scoring of the test split, and the rest, with validation and without.

    >>> shares({"stages": {"load": 1.0, "train": 6.0, "score": 2.0, "validate": 1.0}, "train_time_s": 5.0})
    {'train': 0.5, 'score': 0.2, 'rest': 0.3, 'rest but validation': 0.2}
    """
    total, stages = sum(row["stages"].values()), row["stages"]
    told = {"train": row["train_time_s"] / total, "score": stages.get("score", 0.0) / total}
    rest = 1 - sum(told.values())
    validation = stages.get("validate", 0.0) / total
    return {**told, "rest": round(rest, 12), "rest but validation": round(rest - validation, 12)}


def harness_share(found: dict[str, list[float]]) -> float:
    """What the loop adds to a step, as a share of the step by hand."""
    return statistics.median(found["loop"]) / statistics.median(found["by hand"]) - 1


def goals(found: dict[str, Any]) -> list[Goal]:
    """The marks of this part."""
    told = []
    for name, row in found["runs"].items():
        of = shares(row)
        text = f"{of['rest']:.1%}, without validation {of['rest but validation']:.1%}"
        told.append(Goal(name=f"neither training nor scoring, {name}", value=of["rest"], text=text, most=MARK))
    share = harness_share(found["harness"])
    of_loop = Goal(name="the loop's own time in a step, nano-lm", value=share, text=f"{share:+.1%}", most=HARNESS_MARK)
    return [*told, of_loop]


def lines(found: dict[str, Any]) -> list[str]:
    """The table of this part."""
    names = list(dict.fromkeys(stage for row in found["runs"].values() for stage in row["stages"]))
    rows = [
        f"Seconds by stage of a run of {found['steps']} steps in a study, by the real executor. "
        "`train` is the stage; training steps alone are in the last column but one.",
        "",
        "| model | " + " | ".join(names) + " | steps alone | of the run: steps, the test's scoring, the rest |",
        "| --- |" + " ---: |" * (len(names) + 2),
    ]
    for name, row in found["runs"].items():
        share = shares(row)
        cells = [f"{row['stages'].get(stage, 0.0):.2f}" for stage in names] + [f"{row['train_time_s']:.2f}"]
        parts = ", ".join(f"{share[part]:.0%}" for part in ("train", "score", "rest"))
        rows.append(f"| {name} | " + " | ".join(cells) + f" | {parts} |")
    for name, steps in found["extrapolated"].items():
        rows += ["", f"{name} made {steps} steps; their time is scaled up to {found['steps']}."]
    loop, hand = (1e3 * statistics.median(found["harness"][side]) for side in ("loop", "by hand"))
    return [*rows, "", f"The loop with a LoRA of rank 1 on nano-lm: {loop:.1f} ms a step; by hand {hand:.1f} ms."]
