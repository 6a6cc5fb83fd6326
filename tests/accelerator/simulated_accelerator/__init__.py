"""An accelerator simulated in main memory: ``torch.device("simulated")``, for what a CPU cannot show.

PyTorch treats it as it treats an accelerator: tensors on it do not mix with the CPU's, it has a generator, an allocator
that counts and has a limit, mixed precision, and its backward pass runs in another thread. Its kernels are the CPU's,
so that figures must agree with the CPU's.

A process has it whose ``PYTHONPATH`` holds this folder's parent: the distribution beside this folder declares it
(``torch.backends``), and PyTorch loads it when imported. It is compiled at first use. ``SIMULATED_MEMORY`` is how many
bytes it has; processes with the same ``SIMULATED_MEMORY_FILE`` share them. With ``SIMULATED_WITHOUT_FLOAT64`` it has no
double precision, as Apple's have none.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import types
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

__all__ = ["COMPILER", "NAME", "load"]

NAME = "simulated"
COMPILER = shutil.which("c++")
HERE = Path(__file__).resolve().parent


def load() -> None:
    """Make the device known to PyTorch; what PyTorch's entry point calls."""
    torch.ops.load_library(_compiled())
    torch.utils.rename_privateuse1_backend(NAME)
    torch._register_device_module(NAME, _device_module())  # type: ignore[no-untyped-call]
    torch.utils.generate_methods_for_privateuse1_backend(for_storage=True)


def _compiled() -> Path:
    """The library, compiled where this source was not yet compiled against this PyTorch."""
    source = HERE / "device.cpp"
    version = hashlib.sha256(source.read_bytes() + f"{torch.__version__} {torch.__file__}".encode()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"simulated-accelerator-{os.getuid()}-{version}.so"
    with FileLock(library.with_suffix(".lock")):
        if not library.exists():
            packaged = Path(torch.__file__).parent
            headers = [packaged / "include", packaged / "include/torch/csrc/api/include"]
            written = library.with_suffix(".new")
            command = [str(COMPILER), "-shared", "-fPIC", "-std=c++20", "-O1", "-w", str(source), "-o", str(written)]
            command += [f"-I{folder}" for folder in headers]
            command += [f"-L{packaged / 'lib'}", "-lc10", "-ltorch_cpu", "-ltorch"]
            subprocess.run(command, check=True)
            written.rename(library)
    return library


def _device_module() -> types.ModuleType:
    """What ``torch.get_device_module`` gives, after the example of ``torch.xpu``."""
    module = types.ModuleType(f"torch.{NAME}")
    memory, generator = torch.accelerator, torch.ops.simulated

    def set_rng_state(state: torch.Tensor, device: Any = None) -> None:
        generator.set_rng_state(state)

    vars(module).update(
        is_available=lambda: True,
        is_initialized=lambda: True,
        is_bf16_supported=lambda: True,
        _is_in_bad_fork=lambda: False,
        device_count=lambda: 1,
        current_device=lambda: 0,
        set_device=lambda device: None,
        device=lambda device: nullcontext(),
        get_device_name=lambda device=None: "Simulated accelerator",
        synchronize=lambda device=None: None,
        manual_seed=generator.seed,
        manual_seed_all=generator.seed,
        get_rng_state=lambda device=None: generator.rng_state(),
        set_rng_state=set_rng_state,
        get_amp_supported_dtype=lambda: [torch.bfloat16, torch.float16],
        empty_cache=memory.empty_cache,
        memory_allocated=lambda device=None: memory.memory_allocated(),
        memory_reserved=lambda device=None: memory.memory_reserved(),
        max_memory_allocated=lambda device=None: memory.max_memory_allocated(),
        max_memory_reserved=lambda device=None: memory.max_memory_reserved(),
        reset_peak_memory_stats=lambda device=None: memory.reset_peak_memory_stats(),
        mem_get_info=lambda device=None: memory.get_memory_info(),
    )
    return module
