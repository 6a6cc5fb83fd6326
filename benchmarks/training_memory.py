"""Peak memory of training with each memory setting, counted on shapes; writes ``training_memory.md`` beside this.

    python benchmarks/training_memory.py

Eight methods on SmolLM2-135M and on Llama-3.2-3B, batch 4 × 512 tokens, bfloat16, as an accelerator's allocator
reserves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from speed_parts.memory import PLANS, QV, SHARES, counted
from speed_parts.training import settings

from peftscope.models.kinds.base import ModelProfile
from peftscope.models.kinds.registry import profile_of
from peftscope.schema.study import ModelSpec

HERE = Path(__file__).resolve().parent
MODELS = {
    "SmolLM2-135M": "builtin:smollm2-135m",
    "Llama-3.2-3B": str(HERE.parent / "tests" / "configs" / "llama-3.2-3b.json"),
}
METHODS: dict[str, dict[str, Any]] = {
    "lora, r 32 on q and v": QV,
    **{name: {"name": name} for name in ("lora", "dora", "oft", "ia3", "miss", "prompt-tuning", "full")},
}
SETTINGS = settings()
BATCH, LENGTH = 4, 512


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method's peaks on a model, in bytes."""

    method: str
    peaks: dict[str, int]
    above: dict[str, int]
    """Without the base's weights."""

    def share(self, setting: str) -> float:
        """Of what ``plain`` takes above the base."""
        return self.above[setting] / self.above["plain"]


def row_of(title: str, profile: ModelProfile) -> Row:
    """A method counted with each setting."""
    found = counted(METHODS[title], profile, BATCH, LENGTH)
    peaks, above = (
        {setting: figures[kind] for setting, figures in found.items()} for kind in ("peak_bytes", "above_base_bytes")
    )
    return Row(method=title, peaks=peaks, above=above)


def table(name: str, rows: list[Row]) -> list[str]:
    """Peaks above the base, and their shares of plain's."""
    lines = [f"| {name} | {' | '.join(SETTINGS)} |", "| --- " * (1 + len(SETTINGS)) + "|"]
    for row in rows:
        cells = [f"{row.above['plain'] / 1e9:.2f} GB"]
        cells += [f"{row.above[setting] / 1e9:.2f} GB ({row.share(setting):.2f})" for setting in SHARES]
        lines.append(f"| {row.method} | {' | '.join(cells)} |")
    return lines


def _met(is_met: bool) -> str:
    return "met" if is_met else "missed"


def marks(name: str, row: Row, *, whole: bool) -> list[str]:
    """Whether a row is within the marks."""
    lines, who = [], f"{name}, {row.method}"
    for setting, most in SHARES.items():
        share = row.share(setting)
        lines.append(f"- {who}: {setting} takes {share:.2f} of plain (mark {most}): {_met(share <= most)}")
    for setting, most in PLANS.items() if whole else ():
        plain, peak = row.peaks["plain"] / 1e9, row.peaks[setting] / 1e9
        told = f"{plain:.1f} GB with plain, {peak:.1f} GB with {setting} (mark {most:g} GB)"
        lines.append(f"- {who}: {told}: {_met(peak <= most)}")
    return lines


def main() -> None:
    """Count and write."""
    lines = [
        "Peak memory of a training step above the base's weights, counted on shapes: batch "
        f"{BATCH} × {LENGTH} tokens, all of them",
        "with a label, bfloat16, as an accelerator's allocator reserves it; in brackets the share of `plain`.",
        "Made by `python benchmarks/training_memory.py`.",
        "",
    ]
    told: list[str] = []
    for name, source in MODELS.items():
        profile = profile_of(ModelSpec(source=source), torch.bfloat16)
        rows = [row_of(method, profile) for method in METHODS]
        lines += [*table(name, rows), ""]
        told += marks(name, rows[0], whole=name == "Llama-3.2-3B")
    (HERE / "training_memory.md").write_text("\n".join([*lines, *told, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
