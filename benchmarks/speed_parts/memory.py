"""Peaks of training memory above the base in each memory setting, as the footprint counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speed_parts.bench import METHODS, Bench
from speed_parts.compared import Goal
from speed_parts.training import settings

__all__ = ["PLANS", "QV", "SHARES", "counted", "goals", "lines", "measure"]

TITLE = "Memory"
LLAMA = Path(__file__).resolve().parents[2] / "tests" / "configs" / "llama-3.2-3b.json"
QV = {"name": "lora", "knobs": {"r": 32}, "targets": ["q_proj", "v_proj"]}
SHARES = {"fast": 0.75, "lean": 0.5, "minimal": 0.3}
"""Of ``plain``, for LoRA of rank 32 on q and v."""
PLANS = {"fast": 17.5, "lean": 13.0, "minimal": 8.0}
"""GB that the plan of Llama-3.2-3B may name."""


def measure(bench: Bench) -> dict[str, Any]:
    """Counted bytes; nothing is run."""
    import torch

    from peftscope.models.kinds.registry import profile_of
    from peftscope.schema.study import ModelSpec

    length = bench.sizes.task["max_length"]
    names = {name: METHODS[name] for name in bench.sizes.trained}
    profile = profile_of(ModelSpec(source=bench.sizes.model, kind="causal-lm"), torch.float32)
    rows: dict[str, dict[str, Any]] = {}
    for title, method in {"lora on q and v": QV, **names}.items():
        if not bench.has_time:
            bench.problems.append(f"{title}: no time")
            continue
        rows[title] = counted(method, profile, bench.sizes.batch_size, length)
    found: dict[str, Any] = {"length": length, "batch_size": bench.sizes.batch_size, "methods": rows, "llama": None}
    if LLAMA.is_file() and bench.has_time:
        llama = profile_of(ModelSpec(source=str(LLAMA), kind="causal-lm"), torch.bfloat16)
        found["llama"] = counted(QV, llama, 4, 512)
    else:
        bench.problems.append("Llama-3.2-3B was not planned: no config, or no time")
    return found


def counted(method: dict[str, Any], profile: Any, batch_size: int, length: int) -> dict[str, dict[str, int]]:
    """Per setting: bytes above the base, all that the allocator reserves, and what is live above the base."""
    from peftscope.footprint.estimate import footprint
    from peftscope.footprint.query import FootprintQuery, Workload
    from peftscope.schema.study import MethodSpec, TrainSpec

    found = {}
    for setting in settings():
        train = TrainSpec.model_validate({"batch_size": batch_size, "memory": setting})
        load = Workload(batch_size=batch_size, length=length, train=train, scoring=False)
        told = footprint(FootprintQuery(method=MethodSpec.model_validate(method), profile=profile, workload=load))
        if told.peak_train_bytes is None or told.live_train_bytes is None or told.breakdown is None:
            raise RuntimeError(f"{method['name']}, {setting}: {told.reason}")
        found[setting] = {
            "above_base_bytes": told.peak_train_bytes - told.breakdown.weights,
            "peak_bytes": told.peak_train_bytes,
            "live_above_base_bytes": told.live_train_bytes - told.breakdown.weights,
        }
    return found


def goals(found: dict[str, Any]) -> list[Goal]:
    """The marks of this part."""
    told, row = [], found["methods"]["lora on q and v"]
    for setting, most in SHARES.items():
        if setting in row:
            share = row[setting]["above_base_bytes"] / row["plain"]["above_base_bytes"]
            told.append(Goal(name=f"memory above the base, {setting}", value=share, text=f"{share:.2f}", most=most))
    for setting, limit in PLANS.items():
        if found["llama"] and setting in found["llama"]:
            peak = found["llama"][setting]["peak_bytes"] / 1e9
            told.append(Goal(name=f"plan of Llama-3.2-3B, {setting}", value=peak, text=f"{peak:.1f} GB", most=limit))
    return told


def lines(found: dict[str, Any]) -> list[str]:
    """The table of this part."""
    known = list(next(iter(found["methods"].values())))
    rows = [
        f"MB above the base at the peak, as an accelerator reserves it, "
        f"batches of {found['batch_size']} × {found['length']} tokens, "
        "counted on shapes; in brackets the share of `plain`.",
        "",
        "| method | " + " | ".join(known) + " |",
        "| --- |" + " ---: |" * len(known),
    ]
    for name, row in found["methods"].items():
        plain = row["plain"]["above_base_bytes"]
        cells = [f"{row[s]['above_base_bytes'] / 1e6:.0f} [{row[s]['above_base_bytes'] / plain:.2f}]" for s in known]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    if found["llama"]:
        told = ", ".join(f"{setting} {row['peak_bytes'] / 1e9:.1f} GB" for setting, row in found["llama"].items())
        rows += ["", f"Llama-3.2-3B, bfloat16, LoRA rank 32 on q and v, batch 4 × 512, in all: {told}."]
    return rows
