"""What a second worker adds to the memory that a study's processes have to themselves."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from speed_parts.bench import METHODS, Bench
from speed_parts.compared import Goal

__all__ = ["goals", "lines", "measure"]

TITLE = "Workers"
PERIOD_S = 0.1


def measure(bench: Bench) -> dict[str, Any]:
    """Peak memory of a study's process tree with one and with two workers, one thread each."""
    found: dict[str, Any] = {"workers": {str(number): _peaks(bench, number) for number in (1, 2)}}
    found |= _sizes(bench)
    return found


def _peaks(bench: Bench, workers: int) -> dict[str, Any]:
    """Run LoRA with two seeds and look at the memory of all processes of the study on the way."""
    sizes = bench.sizes
    study = {
        "name": "workers",
        "model": sizes.model,
        "task": {**sizes.task, "test_size": 4, "valid_size": 4, "max_new_tokens": 4},
        "methods": [METHODS["lora"]],
        "seeds": [0, 1],
        "train": {"max_steps": sizes.warmup_steps + sizes.timed_steps, "batch_size": sizes.batch_size},
        "measure": {"latency": False, "metered_steps": 0},
        "include_base": False,
    }
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "study.yaml"
        path.write_text(json.dumps(study), encoding="utf-8")
        command = [sys.executable, "-m", "peftscope", "compare", str(path), "--out", str(Path(place) / "results")]
        process = subprocess.Popen(
            [*command, "--workers", str(workers), "--threads", "1", "--quiet"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=bench.environment(),
        )
        peaks = watched(process)
    if process.returncode not in (0, 1):
        raise RuntimeError(f"compare with {workers} workers ended with {process.returncode}")
    return peaks


def watched(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Peaks over all processes below one: proportional bytes in all and of the base's file, and the largest's own."""
    together, private, base = 0, 0, 0
    while process.poll() is None:
        total, of_base = 0, 0
        with suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.Error, OSError):
                    pss, own = _memory(child.pid)
                    total, private = total + pss, max(private, own)
                    of_base += _of_weights(child.pid)
        together, base = max(together, total), max(base, of_base)
        time.sleep(PERIOD_S)
    return {"pss_bytes": together, "largest_private_bytes": private, "base_pss_bytes": base}


def _memory(pid: int) -> tuple[int, int]:
    """Proportional and private bytes of a process, as Linux sums them up."""
    fields: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, _, amount = line.partition(":")
        fields[name] = int(amount.split()[0]) * 1024
    return fields["Pss"], fields["Private_Clean"] + fields["Private_Dirty"]


def _of_weights(pid: int) -> int:
    """Proportional bytes of the pages of files of weights that a process has."""
    found, is_weights = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("Pss:"):
            found += int(line.split()[1]) * 1024 if is_weights else 0
        elif "-" in line.split(" ", 1)[0]:  # a mapping begins with its addresses
            is_weights = line.endswith(".safetensors")
    return found


def _sizes(bench: Bench) -> dict[str, Any]:
    """What the footprint says the base, the adapter and the activations take."""
    import torch

    from peftscope.footprint.estimate import footprint
    from peftscope.footprint.query import FootprintQuery, Workload
    from peftscope.models.kinds.registry import profile_of
    from peftscope.schema.study import MethodSpec, ModelSpec

    profile = profile_of(ModelSpec(source=bench.sizes.model, kind="causal-lm"), torch.float32)
    load = Workload(
        batch_size=bench.sizes.batch_size, length=bench.sizes.task["max_length"], target="cpu", scoring=False
    )
    told = footprint(FootprintQuery(method=MethodSpec.model_validate(METHODS["lora"]), profile=profile, workload=load))
    if told.breakdown is None:
        raise RuntimeError(f"lora: {told.reason}")
    parts = told.breakdown
    return {
        "base_bytes": parts.weights,
        "adapter_bytes": parts.adapter + parts.gradients + parts.optimizer_state,
        "activation_bytes": parts.activations + parts.outputs,
    }


def added(found: dict[str, Any]) -> int:
    """Bytes that the second worker adds."""
    one, two = (found["workers"][number]["pss_bytes"] for number in ("1", "2"))
    return int(two - one)


def goals(found: dict[str, Any]) -> list[Goal]:
    """The marks of this part."""
    bytes_, limit = added(found), found["adapter_bytes"] + found["activation_bytes"]
    text = f"{bytes_ / 1e6:.0f} MB; base {found['base_bytes'] / 1e6:.0f}, adapter and activations {limit / 1e6:.0f}"
    added_mb = Goal(name="MB a second worker adds", value=bytes_ / 1e6, text=text, most=limit / 1e6)
    bases = found["workers"]["2"]["base_pss_bytes"] / found["base_bytes"]
    text = f"{bases:.2f} times the base's bytes"
    return [added_mb, Goal(name="the base in the memory of two workers", value=bases, text=text, most=1.05)]


def lines(found: dict[str, Any]) -> list[str]:
    """The table of this part."""
    return [
        "LoRA, one thread a worker; peaks sampled over all processes below `compare`. Proportional "
        "bytes share out pages among the processes that have them, private ones no other process has.",
        "",
        "| workers | proportional MB in all | private MB of the largest process | of the base's file, MB in all |",
        "| ---: | ---: | ---: | ---: |",
        *(
            f"| {number} | {row['pss_bytes'] / 1e6:.0f} | {row['largest_private_bytes'] / 1e6:.0f} | "
            f"{row['base_pss_bytes'] / 1e6:.0f} |"
            for number, row in found["workers"].items()
        ),
        "",
        f"The second adds {added(found) / 1e6:.0f} MB. Counted at the longest batch: base "
        f"{found['base_bytes'] / 1e6:.0f} MB, adapter with gradients and optimizer state "
        f"{found['adapter_bytes'] / 1e6:.0f} MB, activations and outputs {found['activation_bytes'] / 1e6:.0f} MB.",
    ]
