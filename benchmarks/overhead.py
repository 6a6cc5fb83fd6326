"""Time from the end of one run to the first training step of the next, on the real embedded model.

    python benchmarks/overhead.py          writes overhead.md beside this file

The end of a run is the moment its record is on disk; the next one's first step begins with its stage ``train``.
In between lie the end of the process, its start again, loading model and data, the baseline, building the adapter.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from peftscope.execution.events import Listener
from peftscope.execution.executors.local import LocalExecutor
from peftscope.execution.launcher import launch, study_lock
from peftscope.schema.live import RunState
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import StudySpec
from peftscope.store.files import record_path
from peftscope.tuning.expand import expand
from peftscope.tuning.job import Job
from peftscope.tuning.scheduler import FixedScheduler

HERE = Path(__file__).resolve().parent
METHODS = ("lora", "ia3", "rslora", "ln-tuning", "oft", "lora", "vera", "dora")
STUDY = {
    "name": "overhead",
    "model": "builtin:smollm2-135m",
    "task": {
        "name": "math",
        "source": "procedural",
        "dataset": "basic_arithmetic",
        "train_size": 1000,
        "valid_size": 4,
        "test_size": 4,
        "max_new_tokens": 4,
        "max_length": 64,
        "chat_template": "none",
        "general_tokens": 200,
    },
    "methods": [{"name": name, "label": f"{index} {name}"} for index, name in enumerate(METHODS)],
    "train": {"max_steps": 2, "batch_size": 2},
    "measure": {"latency": False, "metered_steps": 1},
}


class Stopwatch(Listener):
    """Seconds from stage to stage of every run, from the end of the run before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last_end: float | None = None
        self.rows: list[dict[str, float]] = []
        self.names: list[str] = []
        self._stage = ""

    def started(self, run: RunSpec, state: RunState) -> None:
        self.names.append(run.method.name)
        self.rows.append({})

    def moved(self, run: RunSpec, state: RunState) -> None:
        if self.last_end is not None and state.stage != self._stage:
            self.rows[-1].setdefault(state.stage, time.time() - self.last_end)
        self._stage = state.stage

    def ended(self, run: RunSpec, record: RunRecord) -> None:
        assert record.status == "ok", record.reason
        self.last_end = record_path(self.folder, run.run_id).stat().st_mtime_ns / 1e9


def main() -> None:
    """Measure and write the table."""
    runs = expand(StudySpec.model_validate(STUDY))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        watch = Stopwatch(folder)
        with study_lock(folder, lambda: None):
            executor = LocalExecutor(folder)
            checked = executor.check(runs)
            executor.share_out(checked.machine)
            scheduler = FixedScheduler(Job(run=run) for run in runs)
            launch(scheduler, folder, checked=checked, executor=executor, listeners=[watch])
    stages = ("load", "data", "baseline", "build", "train")
    measured = [(n, row) for n, row in zip(watch.names, watch.rows) if "train" in row]
    lines = [
        "Seconds after the record of the run before is on disk until a stage begins; `train` is the first step. "
        f"Written by `python benchmarks/overhead.py`: SmolLM2-135M, {checked.machine.num_cores} cores, "
        f"torch {version('torch')}, transformers {version('transformers')}.",
        "",
        f"Median to the first step: **{statistics.median(row['train'] for _, row in measured):.2f} s**, "
        f"most {max(row['train'] for _, row in measured):.2f} s.",
        "",
        "| run | " + " | ".join(stages) + " |",
        "| --- |" + " ---: |" * len(stages),
        *(f"| {n} | " + " | ".join(f"{row[s]:.2f}" for s in stages) + " |" for n, row in measured),
    ]
    (HERE / "overhead.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
