"""What all parts of ``speed.py`` work with: sizes, the two sides as processes, the clock."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["GSM8K", "METHODS", "Bench", "NoData", "Sizes", "gsm8k_task", "sizes_of", "stories_task"]

BENCHMARKS = Path(__file__).resolve().parents[1]
GSM8K = BENCHMARKS.parents[1] / "shared" / "data" / "math"
SMOLLM2, NANO = "builtin:smollm2-135m", "builtin:nano-lm"
GENERAL_TOKENS = 10_000
"""What a study measures forgetting and drift on unless told otherwise."""
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora", "knobs": {"r": 32}},
    "rslora": {"name": "rslora", "knobs": {"r": 32}},
    "dora": {"name": "dora", "knobs": {"r": 32}},
    "oft": {"name": "oft"},
    "ia3": {"name": "ia3"},
    "vera": {"name": "vera"},
    "prompt-tuning": {"name": "prompt-tuning"},
    "full": {"name": "full"},
}
"""Eight methods with their cards' settings, LoRA's kin at one rank."""


class NoData(Exception):
    """The data a part is measured on are not on this machine; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    model: str
    task: dict[str, Any]
    """Of scoring and training."""
    study_task: dict[str, Any]
    study_steps: int
    study_methods: tuple[str, ...]
    scored: tuple[str, ...] = ("lora", "oft", "ia3", "prompt-tuning", "full")
    trained: tuple[str, ...] = tuple(METHODS)
    learned_steps: int = 6
    """Training steps before a method's weights are scored."""
    warmup_steps: int = 1
    timed_steps: int = 4
    batch_size: int = 4
    eval_batch_size: int = 50
    scored_prompts: int = 96
    """Test prompts of scoring: more than a batch, as a test split has."""
    few_prompts: int = 16
    """Prompts where other batch sizes are tried for information."""
    alone_prompts: int = 6
    """Prompts that the plain loop answers one by one where padding would change what a method does."""
    other_batches: tuple[int, ...] = (8, 16)
    overhead_steps: int = 100
    slow_steps: int = 20
    """Steps of a run on the larger model where the time of ``overhead_steps`` is extrapolated."""
    harness_steps: int = 100
    seeds: tuple[int, ...] = (0, 1, 2)


@dataclass
class Bench:
    """The two sides, with a clock.

    Args:
        sizes: How much is measured.
        folder: For jobs, results and trained weights, which are kept for the next time.
        threads: Of either side.
        repetitions: At most, of every measurement.
        seconds: After which a part begins no further repetition.
        device: Of the model on either side; None for the CPU.
        dtype: Of its weights; None for what either side takes by itself, which on a CPU is float32.
    """

    sizes: Sizes
    folder: Path
    threads: int = 2
    repetitions: int = 2
    seconds: float = 600.0
    device: str | None = None
    dtype: str | None = None
    problems: list[str] = field(default_factory=list)
    """What could not be measured."""

    def __post_init__(self) -> None:
        self._began = time.monotonic()

    @property
    def has_time(self) -> bool:
        """Whether another measurement may begin."""
        return time.monotonic() - self._began < self.seconds

    def rounds(self, things: Sequence[Any]) -> list[tuple[int, Any]]:
        """All things once, then all again, so that what is left out for want of time is a repetition."""
        return [(number, thing) for number in range(self.repetitions) for thing in things]

    def plain(self, **job: Any) -> dict[str, Any]:
        """The plain loop, one process; with its wall time as ``process_s``."""
        return self._process([str(BENCHMARKS / "plain_loop.py")], {**job, **self._where(), "threads": self.threads})

    def peftscope(self, work: str, **job: Any) -> dict[str, Any]:
        """A piece of peftscope's work, one process."""
        script = BENCHMARKS / "speed_parts" / "peftscope_side.py"
        if "model" in job and (where := self._where()):
            job["model"] = {"source": job["model"], **where}
        return self._process([str(script), work], {"seed": 0, **job, "threads": self.threads})

    def facts(self, task: dict[str, Any], methods: Sequence[str], model: str | None = None) -> dict[str, Any]:
        """What both sides have to share."""
        return self.peftscope(
            "facts",
            model=model or self.sizes.model,
            task=task,
            batch_size=self.sizes.batch_size,
            methods={name: METHODS[name] for name in methods},
        )

    def place(self, what: str, settings: Any) -> Path:
        """A path under the folder that these settings alone have."""
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{what}-{digest}"

    def environment(self) -> dict[str, str]:
        """Variables of a process of either side."""
        return {**os.environ, "OMP_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "false"}

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """A script with its arguments, in a process of its own, to its end."""
        return subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=False, env=self.environment()
        )

    def _where(self) -> dict[str, str]:
        """What is set of the model's device and dtype."""
        given = {"device": self.device, "dtype": self.dtype}
        return {name: value for name, value in given.items() if value is not None}

    def _process(self, command: list[str], job: dict[str, Any]) -> dict[str, Any]:
        self.folder.mkdir(parents=True, exist_ok=True)
        given, found = (self.folder / f"{name}-{os.getpid()}.json" for name in ("job", "result"))
        given.write_text(json.dumps(job), encoding="utf-8")
        found.unlink(missing_ok=True)
        started = time.perf_counter()
        done = self.run([*command, str(given), str(found)])
        seconds = time.perf_counter() - started
        if done.returncode != 0 or not found.exists():
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["no message"]
            raise RuntimeError(f"{' '.join(Path(part).name for part in command)} failed: {last[0]}")
        result: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
        given.unlink()
        found.unlink()
        return {**result, "process_s": seconds}


def gsm8k_task(data: Path, *, num_prompts: int, max_new_tokens: int = 128) -> dict[str, Any]:
    """GSM8K rows as a math task writes them, plainly.

    Raises:
        NoData: The files are not there.
    """
    files = {name: data / f"gsm8k_{name}.jsonl" for name in ("train", "test")}
    if absent := [path.name for path in files.values() if not path.is_file()]:
        raise NoData(f"{' and '.join(absent)} not found in the folder of real data (--data)")
    return {
        "name": "math",
        "source": "files",
        **{name: str(path) for name, path in files.items()},
        "train_size": 400,
        "valid_size": 8,
        "test_size": num_prompts,
        "max_length": 512,
        "max_new_tokens": max_new_tokens,
        "long_prompts": "drop",
        "chat_template": "none",
        "general_tokens": 0,
    }


def stories_task(*, train: int, valid: int, test: int, max_new_tokens: int = 32) -> dict[str, Any]:
    """The demo's short word problems, for models of a few million parameters."""
    return {
        "name": "math",
        "source": "stories",
        "query_template": "Question: {query}\nAnswer:",
        "train_size": train,
        "valid_size": valid,
        "test_size": test,
        "max_new_tokens": max_new_tokens,
        "eval_batch_size": 50,
        "max_length": 96,
        "general_tokens": 0,
    }


def sizes_of(data: Path, *, quick: bool) -> Sizes:
    """The real sizes, or tiny ones on the smallest model, to see that everything works.

    Raises:
        NoData: The files of the real sizes are not there.
    """
    if quick:
        return Sizes(
            model=NANO,
            task=stories_task(train=40, valid=4, test=6, max_new_tokens=12),
            study_task=stories_task(train=200, valid=20, test=20, max_new_tokens=12),
            study_steps=10,
            study_methods=("lora", "ia3"),
            scored=("lora", "prompt-tuning", "full"),
            trained=("lora", "prompt-tuning"),
            learned_steps=3,
            scored_prompts=6,
            few_prompts=4,
            alone_prompts=2,
            other_batches=(2,),
            overhead_steps=10,
            slow_steps=4,
            harness_steps=4,
            seeds=(0, 1),
        )
    return Sizes(
        model=SMOLLM2,
        task=gsm8k_task(data, num_prompts=48),
        study_task=stories_task(train=1500, valid=60, test=200),
        study_steps=60,
        study_methods=("lora", "rslora", "dora", "oft", "miss", "lily", "ia3", "ln-tuning"),
    )
