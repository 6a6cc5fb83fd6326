"""Tokens a second in training: the plain loop on shuffled batches against peftscope in each memory setting."""

from __future__ import annotations

import statistics
from typing import Any, get_args

from speed_parts.bench import METHODS, Bench
from speed_parts.compared import Goal, loss_difference, rate, ratio, ratio_text

__all__ = ["goals", "lines", "measure", "settings"]

TITLE = "Training"
LOSS_TOLERANCE = 1e-4
"""As a share of the loss, over a few steps: rounding is all that may differ, and it grows from step to step."""
LEAN_MARK = 0.9
"""Of the tokens a second of ``fast``."""


def settings() -> tuple[str, ...]:
    """Values of ``TrainSpec.memory``, as the schema has them."""
    from peftscope.schema.study import MemorySetting

    return get_args(MemorySetting)


def measure(bench: Bench) -> dict[str, Any]:
    """Steps of both sides in turns, and the losses on the very same batches."""
    sizes, known = bench.sizes, settings()
    task = sizes.task
    facts = bench.facts(task, sizes.trained)
    steps = sizes.warmup_steps + sizes.timed_steps
    found: dict[str, Any] = {"skip": sizes.warmup_steps, "batch_size": sizes.batch_size, "settings": list(known)}
    found["length"] = task["max_length"]
    found["methods"] = {name: {"plain loop": [], **{s: [] for s in known}, "losses": {}} for name in sizes.trained}
    for round_, name in bench.rounds(sizes.trained):
        if round_ and not bench.has_time:
            bench.problems.append(f"{name}: no time for repetition {round_ + 1}")
            continue
        method, row = facts["methods"][name], found["methods"][name]
        job = {
            "model": facts["folder"],
            "peft": method["peft"],
            "rows": facts["rows"],
            "steps": steps,
            "batch_size": sizes.batch_size,
            "learning_rate": method["learning_rate"],
        }
        # Seeds change from repetition to repetition, and the settings' order from method to method: few batches are
        # drawn, and none is first every time.
        first = (list(sizes.trained).index(name) + round_) % len(known)
        turn = (*known[first:], *known[:first])
        own = {"title": name, "method": METHODS[name], "settings": turn, "steps": steps, "seed": round_}
        rate_ = {"learning_rate": method["learning_rate"], "batch_size": sizes.batch_size}
        row["plain loop"].append(bench.plain(**job, seed=round_)["steps"])
        ours = bench.peftscope("train", model=sizes.model, task=task, **own, **rate_)
        for setting in known:
            row[setting].append(ours[setting])
        if not round_:
            same = bench.plain(**job, batches=facts["batches"][:steps])["steps"]
            row["losses"] = {setting: loss_difference(same, ours[setting]) for setting in known}
    return found


def goals(found: dict[str, Any]) -> list[Goal]:
    """The marks of this part."""
    told, known = [], found["settings"]
    gains = {s: [_ratio(found, row, s, "plain loop")["median"] for row in found["methods"].values()] for s in known}
    for setting, values in gains.items():
        told.append(
            Goal(
                name=f"training, {setting} against the plain loop",
                value=statistics.median(values),
                text=f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f} over methods) times",
            )
        )
    for setting, other, least in (("fast", "plain", 1.0), ("lean", "fast", LEAN_MARK)):
        if setting in known and other in known:
            values = [_ratio(found, row, setting, other)["median"] for row in found["methods"].values()]
            told.append(
                Goal(
                    name=f"training, {setting} against {other}",
                    value=min(values),
                    text=f"at least {min(values):.2f} times, median {statistics.median(values):.2f}",
                    least=least,
                )
            )
    worst = max(d for row in found["methods"].values() for d in row["losses"].values())
    told.append(Goal(name="training, losses on equal batches", value=worst, text=f"{worst:.1e}", most=LOSS_TOLERANCE))
    return told


def lines(found: dict[str, Any]) -> list[str]:
    """The table of this part."""
    known = found["settings"]
    head = [f"{setting}" for setting in known]
    rows = [
        f"Tokens a second, padding left out, batches of {found['batch_size']}, rows of at most {found['length']} "
        "tokens; in brackets against the plain loop. "
        "Losses: the largest difference of a step's loss to the plain loop's on the very same batches, as a share.",
        "",
        "| method | plain loop | " + " | ".join(head) + " | losses |",
        "| --- |" + " ---: |" * (len(known) + 2),
    ]
    for name, row in found["methods"].items():
        cells = [f"{statistics.median(_rates(found, row, 'plain loop')):.0f}"]
        for setting in known:
            faster = ratio_text(_ratio(found, row, setting, "plain loop"))
            cells.append(f"{statistics.median(_rates(found, row, setting)):.0f} [{faster}]")
        cells.append(f"{max(row['losses'].values()):.1e}")
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows


def _rates(found: dict[str, Any], row: dict[str, Any], side: str) -> list[float]:
    return [rate(steps, skip=found["skip"]) for steps in row[side]]


def _ratio(found: dict[str, Any], row: dict[str, Any], of: str, to: str) -> dict[str, float]:
    return ratio(_rates(found, row, of), _rates(found, row, to))
