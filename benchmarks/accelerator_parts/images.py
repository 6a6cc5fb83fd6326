"""An image model on the device: training and drawing with some methods, their memory against ``plan``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from peftscope.schema.record import RunRecord

from . import random_pipeline
from .desk import Desk, Notes
from .figures import note_peaks, step_time

__all__ = ["against_plan", "images", "start_images"]

PLAN = "images"
PICTURES = {"train_size": 4, "valid_size": 2}
"""To learn from."""


def start_images(desk: Desk) -> None:
    """Lay out the pipeline without weights, and begin to predict."""
    sizes = desk.sizes.images
    random_pipeline.write_configs(desk.folder / "pipeline", sizes.shapes, sizes.prompt_tokens)
    desk.start_study_plan(PLAN, _study(desk))


def images(desk: Desk, notes: Notes) -> None:
    """Pictures a second in training and in drawing, and peaks of both, allocated and reserved."""
    missing = [name for name in ("diffusers", "PIL") if find_spec(name) is None]
    if missing:
        notes.add({"run": "images", "said": f"{' and '.join(missing)} not installed"})
        return
    sizes = desk.sizes.images
    random_pipeline.write_pictures(desk.folder / "pictures", sum(PICTURES.values()) + sizes.pictures, sizes.side)
    command = [sys.executable, random_pipeline.__file__, str(desk.folder / "pipeline"), desk.device, desk.sizes.dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    records = notes.check_ok(desk.compare(_study(desk)))
    planned = desk.plan(PLAN)
    for record in records:
        against_plan(desk, notes, record, planned[record.spec.method.title])


def _study(desk: Desk) -> dict[str, Any]:
    sizes = desk.sizes.images
    drawing = {"num_inference_steps": sizes.draw_steps, "draws": 1, "eval_batch_size": sizes.eval_batch_size}
    comparing = {"encoder": str(desk.folder / "encoder"), "encoder_size": 28}
    nothing_else: dict[str, list[str]] = {"drift_prompts": [], "class_prompts": [], "sample_prompts": []}
    data = {"source": str(desk.folder / "pictures"), "resolution": sizes.side, "test_size": sizes.pictures, **PICTURES}
    study = desk.study(
        "images",
        model={"source": str(desk.folder / "pipeline"), "dtype": desk.sizes.dtype},
        methods=list(sizes.methods),
        include_base=False,
        train={"max_steps": sizes.steps, "batch_size": sizes.batch_size},
    )
    return {**study, "task": {"name": "concept", **data, **drawing, **comparing, **nothing_else}}


def against_plan(desk: Desk, notes: Notes, record: RunRecord, planned: Mapping[str, Any]) -> None:
    """A row for training and one for drawing."""
    found, sizes, title = record.metrics, desk.sizes.images, record.spec.method.title
    notes.check(planned["reason"] is None, f"{title}: no prediction: {str(planned['reason'])[:200]}")
    parts = planned["eval_breakdown"]
    step_s, drawn_s = step_time(record), found["eval_time_s"]
    phases = {
        "train": (planned["live_train_bytes"], planned["peak_train_bytes"], step_s and sizes.batch_size / step_s),
        "eval": (
            parts and sum(parts.values()) - parts["allocator"],
            planned["peak_eval_bytes"],
            drawn_s and sizes.pictures / drawn_s,
        ),
    }
    for phase, (live, reserved, rate) in phases.items():
        measured = {"allocated": found[f"peak_{phase}_memory_bytes"], "reserved": found[f"peak_{phase}_reserved_bytes"]}
        run = f"{title}, {'training' if phase == 'train' else 'drawing'}"
        others = {"images/s": rate, "in all s": found["total_time_s"] if phase == "train" else None}
        note_peaks(notes, run, {"allocated": live, "reserved": reserved}, measured, others)
