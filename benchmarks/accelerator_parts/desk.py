"""Where the parts do their work: peftscope's own commands, in this process, on studies written as files."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peftscope.cli import app
from peftscope.schema.record import RunRecord
from peftscope.store.files import read_records

from .sizes import Sizes

__all__ = ["Desk", "Notes"]

STORIES = {"name": "math", "source": "stories", "query_template": "Question: {query}\nAnswer:"}
NANO = "builtin:nano-lm"
Row = dict[str, Any]


@dataclass
class Notes:
    """What a part found, kept as it goes on, so that a part that is cut off leaves what it had."""

    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """A line of the table."""
        self.rows.append(row)

    def check(self, holds: bool, problem: str) -> None:
        """Note a problem where something does not hold."""
        if not holds:
            self.problems.append(problem)

    def check_ok(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """Note every run that is not ok with its reason; gives the others."""
        for record in records:
            last = (record.attempts[-1].traceback or "").strip().splitlines()[-6:] if record.attempts else []
            told = " | ".join(line.strip() for line in last)
            self.check(record.status == "ok", f"{record.spec.title}: {record.status}: {record.reason} {told}".strip())
        return [record for record in records if record.status == "ok"]


@dataclass(kw_only=True)
class Desk:
    """A folder to work in, and what all parts share."""

    folder: Path
    device: str
    sizes: Sizes
    parts: Collection[str] = ()
    """Names of the parts that are done: nothing is begun for others."""
    plans: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    matrix_rate: float | None = None
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> Path:
        """Folder of the model with random weights."""
        return self.folder / "model"

    def study(self, name: str, **parts: Any) -> dict[str, Any]:
        """A study on nano-lm and short stories, on the check's device, but for what is given."""
        task = {**STORIES, "train_size": 200, "valid_size": 8, "test_size": 16, "max_new_tokens": 8}
        base: dict[str, Any] = {
            "name": name,
            "model": {"source": NANO, "device": self.device, "dtype": "float32"},
            "task": {**task, "eval_batch_size": 16, "max_length": 96, "general_tokens": 0},
            "methods": ["lora"],
            "seeds": [0],
            "train": {"max_steps": self.sizes.demo_steps, "batch_size": 8},
            "measure": {"latency": False, "metered_steps": 2},
        }
        for part, values in parts.items():
            merged = isinstance(values, Mapping) and isinstance(base.get(part), dict)
            base[part] = {**base[part], **values} if merged else values
        return base

    def file(self, study: Mapping[str, Any]) -> Path:
        """The study as a file."""
        path = self.folder / f"{study['name']}.yaml"
        path.write_text(json.dumps(study), encoding="utf-8")
        return path

    def out(self, study: Mapping[str, Any]) -> Path:
        """Folder of its records."""
        return self.folder / "results" / str(study["name"])

    def compare(self, study: Mapping[str, Any], *options: str) -> list[RunRecord]:
        """``peftscope compare``; gives the study's records, failures included, in the order they were made in."""
        out = self.out(study)
        self.command("compare", str(self.file(study)), "--out", str(out), "--quiet", *options)
        records = read_records(out)
        return sorted(records, key=lambda record: record.attempts[-1].ended_at if record.attempts else "")

    def command(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a command of peftscope's.

        Raises:
            PeftscopeError: The request was wrong.
        """
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(io.StringIO()):
            code = app(list(arguments), standalone_mode=False)
        return int(code or 0), said.getvalue()

    def start_plan(self, name: str, *options: str, methods: Sequence[str] | None = None) -> None:
        """Begin ``peftscope plan`` for the model with random weights, in a process of its own."""
        sizes = self.sizes
        asked = ["--model", str(self.model / "config.json"), "--methods", ",".join(methods or sizes.methods)]
        asked += ["--dtype", sizes.dtype, "--batch-size", str(sizes.batch_size), "--seq-len", str(sizes.length)]
        self._start_plan(name, *asked, *options)

    def start_study_plan(self, name: str, study: Mapping[str, Any]) -> None:
        """The same for a study's model and methods, in its own sizes."""
        self._start_plan(name, str(self.file(study)))

    def _start_plan(self, name: str, *asked: str) -> None:
        device = "cpu" if self.device == "cpu" else "accelerator"
        command = [sys.executable, "-m", "peftscope", "plan", *asked, "--device", device, "--json", "--quiet"]
        self.plans[name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def plan(self, name: str) -> dict[str, dict[str, Any]]:
        """What was predicted, by method; waits for the process that was begun."""
        process = self.plans.pop(name)
        told, errors = process.communicate()
        assert told, f"plan {name}: {errors[-300:]}"
        return {entry["name"]: entry for entry in json.loads(told)["methods"]}

    def close(self) -> None:
        """End what was begun and nobody waited for."""
        for process in self.plans.values():
            process.kill()
            process.communicate()
