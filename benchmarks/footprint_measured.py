"""Predicted against measured memory of real steps on this machine; writes ``footprint_measured.md`` beside this.

    python benchmarks/footprint_measured.py

SmolLM2-135M in float32 on the CPU, each method in a process of its own: live storage as a run counts it over two
steps, and the process's memory sampled over two others.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peftscope.footprint.counter import LEARNING_RATE, MAX_STEPS
from peftscope.footprint.estimate import footprint
from peftscope.footprint.memory_peak import HEAP_SHARE
from peftscope.footprint.query import FootprintQuery, Workload
from peftscope.measures.peak_meter import PeakMeter, anonymous_bytes
from peftscope.measures.storage import LiveStorage, tensors_of
from peftscope.methods.build import BuildContext, Built, build
from peftscope.methods.optimizers import OptimizerSettings
from peftscope.models.kinds.causal_lm.empty import read_config
from peftscope.models.kinds.causal_lm.loading import load
from peftscope.models.kinds.causal_lm.profile import CausalLMProfile
from peftscope.schema.study import MethodSpec, ModelSpec, TrainSpec
from peftscope.training.loop import Hooks, train_step

HERE = Path(__file__).resolve().parent
MODEL = ModelSpec(source="builtin:smollm2-135m", dtype="float32", device="cpu")
BATCH, LENGTH, STEPS = 4, 192, 2
TRAIN = TrainSpec(batch_size=BATCH)
METHODS = (
    "lora", "dora", "oft", "boft", "ia3", "lily", "miss", "vera", "fourierft", "beft", "prompt-tuning", "full",
)  # fmt: skip


def profile() -> CausalLMProfile:
    """The model by its shape."""
    return CausalLMProfile(config=read_config(MODEL.source), dtype=torch.float32)


def predicted(name: str) -> dict[str, int]:
    """Live storage at its peak, and what the process is to hold for it."""
    load_ = Workload(batch_size=BATCH, length=LENGTH, train=TRAIN, target="cpu", scoring=False)
    found = footprint(FootprintQuery(method=MethodSpec(name=name), profile=profile(), workload=load_))
    assert found.live_train_bytes is not None, found.reason
    assert found.peak_train_bytes is not None
    return {"live": found.live_train_bytes, "process": found.peak_train_bytes}


def measured(name: str) -> dict[str, int]:
    """Counted storage of real steps, and how far they raise the process's memory."""
    before = anonymous_bytes()
    loaded = load(MODEL)
    torch.manual_seed(0)
    context = BuildContext(
        seed=0, max_steps=MAX_STEPS, learning_rate=LEARNING_RATE, warn=lambda line: None, task_type="CAUSAL_LM"
    )
    weights = sum(tensor.nbytes for tensor in {id(t): t for t in tensors_of(loaded.model)}.values())
    mapped = max(0, weights - (anonymous_bytes() - before))
    built = build(loaded.model, MethodSpec(name=name), context)
    ids = torch.randint(5, 40_000, (BATCH, LENGTH))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    batch["attention_mask"][0, -3:] = 0
    gc.collect()
    with PeakMeter(torch.device("cpu"), interval_s=0.01) as meter:
        _steps(built, batch)
    assert meter.sampled_bytes is not None
    with LiveStorage([*tensors_of(built.model), *batch.values()]) as storage:
        _steps(built, batch)
    return {"counted": storage.peak_bytes, "sampled": meter.sampled_bytes - before + mapped}


def _steps(built: Built, batch: dict[str, Any]) -> None:
    built.model.train()
    optimizer = built.make_optimizer(OptimizerSettings(learning_rate=0.0))
    hooks = Hooks(penalty=built.penalty, after_step=built.after_step)
    for step in range(1, STEPS + 1):
        train_step(built.model, profile(), [batch], optimizer, TRAIN, step=step, hooks=hooks)


def report(rows: dict[str, dict[str, int]]) -> list[str]:
    """The page."""
    counted = [abs(row["live"] / row["counted"] - 1) for row in rows.values()]
    sampled = [abs(row["process"] / row["sampled"] - 1) for row in rows.values()]
    return [
        f"SmolLM2-135M, float32, CPU, batch {BATCH} × {LENGTH} tokens, torch {torch.__version__}. "
        f"What the process holds beyond live storage is taken to be {HEAP_SHARE} of all but the base, from an earlier "
        "run of LoRA; it differs between methods, and for one between runs (LoRA 0.39 to 0.53). "
        "Written by `python benchmarks/footprint_measured.py`.",
        "",
        "| error of the predicted peak | median | largest |",
        "| --- | ---: | ---: |",
        f"| of live storage, counted in real steps | {100 * np.median(counted):.2f} % | {100 * max(counted):.2f} % |",
        f"| of the process's memory, sampled | {100 * np.median(sampled):.1f} % | {100 * max(sampled):.1f} % |",
        "",
        "| method | live MB, predicted | counted | error % | process MB, predicted | sampled | error % |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *[
            f"| {name} | {row['live'] / 1e6:.0f} | {row['counted'] / 1e6:.0f} | "
            f"{100 * (row['live'] / row['counted'] - 1):+.2f} | {row['process'] / 1e6:.0f} | "
            f"{row['sampled'] / 1e6:.0f} | {100 * (row['process'] / row['sampled'] - 1):+.1f} |"
            for name, row in rows.items()
        ],
    ]


def main() -> None:
    """All, each in a process of its own, or one as such a process."""
    if len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1])))
        return
    rows = {}
    for name in METHODS:
        done = subprocess.run([sys.executable, __file__, name], check=True, capture_output=True, text=True)
        rows[name] = {**predicted(name), **json.loads(done.stdout.splitlines()[-1])}
        print(name, rows[name], file=sys.stderr)
    text = "\n".join(report(rows)) + "\n"
    (HERE / "footprint_measured.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
