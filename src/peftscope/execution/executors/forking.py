"""The process children are forked from: it has imported everything, runs no torch op and touches no accelerator."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = ["warm_up"]

PLACES = ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "TORCH_HOME", "XDG_CACHE_HOME", "TMPDIR")
"""Variables that name a folder."""
PRELOADED = ["peftscope.execution.executors.preload"]
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""NumPy's and SciPy's linear algebra would start threads on import, and a process with threads must not fork; nor may
one that has begun to use CUDA, as the plain question whether it is there does."""


def warm_up() -> Any:
    """Begin to import in the process children are forked from; gives the ``multiprocessing`` context for them.

    Returns at once. Systems without ``forkserver`` import in every child.
    """
    for name in PLACES:  # runs have another working folder
        if os.environ.get(name):
            os.environ[name] = os.path.abspath(os.path.expanduser(os.environ[name]))
    context = _context()
    if METHOD == "spawn":
        return context
    from multiprocessing import forkserver, resource_tracker

    context.set_forkserver_preload(PRELOADED)
    # It inherits the mask, and so do runs: these signals go to the whole group, and the process the user started
    # decides what they mean for the others.
    resource_tracker.ensure_running()  # it would lift the mask when it starts
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with _environment(ENVIRONMENT):
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


class _Process(multiprocessing.get_context(METHOD).Process):  # type: ignore[misc]
    """A child that does not run the user's script again.

    ``multiprocessing`` imports the main module in every child. Ours need nothing of it, and a script that runs a study
    without asking for ``__name__ == "__main__"`` would run it again in each of them.
    """

    @staticmethod
    def _Popen(process: Any) -> Any:
        with _without_main():
            return multiprocessing.get_context(METHOD).Process._Popen(process)  # type: ignore[attr-defined]


def _context() -> Any:
    context: Any = type(multiprocessing.get_context(METHOD))()
    context.Process = _Process
    return context


@contextmanager
def _without_main() -> Iterator[None]:
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Variables set for a process about to start; what the user has set stays."""
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
