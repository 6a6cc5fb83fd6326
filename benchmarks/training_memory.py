"""Peak memory of training with each memory setting, counted on shapes; writes ``training_memory.md`` beside this.

    python benchmarks/training_memory.py

Eight methods on SmolLM2-135M and on Llama-3.2-3B, batch 4 × 512 tokens, bfloat16, as an accelerator's allocator
reserves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from peftscope.footprint.estimate import footprint
from peftscope.footprint.query import FootprintQuery, Workload
from peftscope.models.kinds.base import ModelProfile
from peftscope.models.kinds.registry import profile_of
from peftscope.schema.study import MemorySetting, MethodSpec, ModelSpec, TrainSpec

HERE = Path(__file__).resolve().parent
MODELS = {
    "SmolLM2-135M": "builtin:smollm2-135m",
    "Llama-3.2-3B": str(HERE.parent / "tests" / "configs" / "llama-3.2-3b.json"),
}
METHODS = (
    MethodSpec(name="lora", label="lora, r 32 on q and v", targets=("q_proj", "v_proj")),
    *(MethodSpec(name=name) for name in ("lora", "dora", "oft", "ia3", "miss", "prompt-tuning", "full")),
)
SETTINGS: tuple[MemorySetting, ...] = ("plain", "fast", "lean", "minimal")
BATCH, LENGTH = 4, 512
SHARES = {"fast": 0.75, "lean": 0.5, "minimal": 0.3}
"""The marks: the most a setting may take above the base, as a share of what ``plain`` takes."""
PEAKS = {"fast": 17.5e9, "lean": 13e9, "minimal": 8e9}
"""The marks for the whole peak of the first method on Llama-3.2-3B, in bytes."""


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


def row_of(method: MethodSpec, profile: ModelProfile) -> Row:
    """A method counted with each setting."""
    peaks: dict[str, int] = {}
    above: dict[str, int] = {}
    for setting in SETTINGS:
        train = TrainSpec(batch_size=BATCH, memory=setting)
        load = Workload(batch_size=BATCH, length=LENGTH, train=train, scoring=False)
        found = footprint(FootprintQuery(method=method, profile=profile, workload=load))
        assert found.peak_train_bytes is not None, found.reason
        assert found.breakdown is not None
        peaks[setting] = found.peak_train_bytes
        above[setting] = found.peak_train_bytes - found.breakdown.weights
    return Row(method=method.title, peaks=peaks, above=above)


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
    for setting, peak in PEAKS.items() if whole else ():
        plain, found = row.peaks["plain"] / 1e9, row.peaks[setting]
        told = f"{plain:.1f} GB with plain, {found / 1e9:.1f} GB with {setting} (mark {peak / 1e9:g} GB)"
        lines.append(f"- {who}: {told}: {_met(found <= peak)}")
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
