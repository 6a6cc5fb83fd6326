"""Processes that count, as the server holds them: started ahead where one will be wanted, ended as whole groups."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import peftscope
from peftscope.execution.executors.forking import PLACES

__all__ = ["CountingProcess"]

LONGEST_LINE = 4 * 2**20
NO_ACCELERATOR = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "ZE_AFFINITY_MASK": ""}
NO_CODE = {"USE_HUB_KERNELS": "NO", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""Kernels from the hub are not put in place of a model's own layers."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class CountingProcess:
    """One that waits for a request, answers it and ends; ``start`` makes it.

    Args:
        process: It.
        folder: Its working folder, which is its own.
    """

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process, self._folder = process, folder

    @classmethod
    async def start(cls, workers: int) -> CountingProcess:
        """Start one; importing what counts takes it seconds.

        Args:
            workers: Processes that it counts in.

        Raises:
            OSError: The system starts no more processes.
        """
        folder = Path(tempfile.mkdtemp(prefix="peftscope-plan-"))
        arguments = ["-P", "-m", "peftscope.web.planning_process", str(workers)]  # -P: nothing is imported from there
        group: dict[str, Any] = {"start_new_session": True} if hasattr(os, "killpg") else {}
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=folder,
                env=_environment(),
                limit=LONGEST_LINE,
                **group,
            )
        except (OSError, asyncio.CancelledError):
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(process, folder)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.returncode is None

    async def lines(self, request: bytes) -> AsyncIterator[bytes]:
        """What it answers, line by line; its input stays open, by which it knows that somebody waits.

        Args:
            request: In one line.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(ConnectionError):  # it is gone, as its output will tell
            self._process.stdin.write(request + b"\n")
            await self._process.stdin.drain()
        while line := await self._process.stdout.readline():
            yield line

    def kill(self) -> None:
        """End it at once, with those it has started."""
        with suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            elif self.is_alive:
                self._process.kill()

    async def end(self) -> None:
        """The same, and wait until it is gone."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        await self._process.wait()


def _environment() -> dict[str, str]:
    """The server's, with one thread, without an accelerator, and with folders that hold in another working folder."""
    own = dict(os.environ)
    for name in PLACES:
        if own.get(name):
            own[name] = os.path.abspath(os.path.expanduser(own[name]))
    paths = [str(Path(peftscope.__file__).parents[1]), *own.get("PYTHONPATH", "").split(os.pathsep)]
    own["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in paths if path)
    return own | NO_ACCELERATOR | NO_CODE | ONE_THREAD
