"""How long a user waits for commands that train nothing: medians of repeated calls, with the machine's cores idle.

python benchmarks/waiting.py          # about eight minutes; the table goes to benchmarks/waiting.md
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from small_study import small_study

from peftscope.store.files import write_text

TABLE = Path(__file__).with_suffix(".md")
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 3072, "intermediate_size": 8192,
    "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256,
    "tie_word_embeddings": True, "max_position_embeddings": 131072,
}  # fmt: skip
"""The shapes of Llama-3.2-3B."""
LIMITS = ("24GiB", "12GiB")


def seconds(words: Sequence[str], folder: Path, *, repeats: int) -> float:
    """Median wall-clock time of a command."""
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "peftscope", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        took.append(time.perf_counter() - began)
        assert done.returncode == 0, done.stderr
    return statistics.median(took)


def _study(folder: Path) -> None:
    small_study(
        folder, num_rows=200, task={}, name="waiting", methods=["lora", "ia3", "oft"], seeds=[0, 1, 2],
        measure={"latency": False},
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")


def main() -> None:
    """Time, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=TABLE)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    rows: list[tuple[str, float, str]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _study(folder)
        seconds(["compare", "study.yaml", "--quiet"], folder, repeats=1)
        rows.append(("`--version`", seconds(["--version"], folder, repeats=chosen.repeats), ""))
        again = seconds(["compare", "study.yaml", "--quiet"], folder, repeats=chosen.repeats)
        rows.append(("`compare`, nothing left to do (10 runs)", again, "2"))
        rows.append(("`recommend`", seconds(["recommend", "study.yaml"], folder, repeats=chosen.repeats), "1"))
        for name, words in (("two methods", ["--methods", "lora,oft"]), ("one per peft type", [])):
            plain = ["plan", "--model", "config.json", "--quiet", *words]
            without = seconds(plain, folder, repeats=1 if not words else 3)
            rows.append((f"`plan`, {name}", without, ""))
            for limit in LIMITS:
                took = seconds([*plain, "--max-memory", limit], folder, repeats=1 if not words else 3)
                rows.append((f"`plan`, {name}, limit {limit}", took, f"{2 * without:.1f}"))
            print(rows[-1], flush=True)
    lines = [
        "# Waiting",
        "",
        f"Commands that train nothing, on {os.cpu_count()} cores; medians. `plan` is asked about Llama-3.2-3B's "
        "shapes, bfloat16, batch 4 × 512. Made by `python benchmarks/waiting.py`.",
        "",
        "| command | seconds | wanted, at most |",
        "| --- | ---: | ---: |",
        *(f"| {name} | {took:.2f} | {wanted} |" for name, took, wanted in rows),
        "",
        "What is left of `recommend` is imports: Python, typer, rich and pydantic are the third of a second of "
        "`--version`; pandas, SciPy's special functions and moocore are most of the rest.",
    ]
    write_text(chosen.output, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
