"""Both sides of ``speed.py`` as processes that have their imports done when they are needed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from speed_parts.bench import Bench

__all__ = ["ReadyBench"]

STANDBY = Path(__file__).with_name("standby.py")
PLAIN = "torch,transformers.models.auto.modeling_auto,transformers.models.llama.modeling_llama,peft"
PEFTSCOPE = "peftscope.execution.execute,peftscope.tasks.text.math,peftscope.models.kinds.causal_lm.kind"


@dataclass
class ReadyBench(Bench):
    """A bench that imports all at once: one process after the other would take longer than what is measured."""

    waiting: list[tuple[bool, subprocess.Popen[str]]] = field(default_factory=list)
    """Processes to be, and whether they are the plain loop's."""

    def stand_by(self, *, plain: int, peftscope: int) -> None:
        """Begin to import for so many processes of either side."""
        for is_plain in (*[True] * plain, *[False] * peftscope):
            command = [sys.executable, str(STANDBY), PLAIN + "," + PEFTSCOPE if not is_plain else PLAIN]
            pipe = subprocess.PIPE
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=self.environment())
            self.waiting.append((is_plain, process))

    def wait(self) -> None:
        """Return when all have imported, so that nothing is measured beside it."""
        for _, process in self.waiting:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError(f"a process did not start: {process.communicate()[1][-300:]}")

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """A script with its arguments, in a process that waits, or in a new one."""
        is_plain = Path(command[0]).name == "plain_loop.py"
        found = next((process for plain, process in self.waiting if plain == is_plain), None)
        if found is None:
            return super().run(command)
        output, errors = found.communicate(json.dumps(command) + "\n")
        self.waiting.remove((is_plain, found))
        return subprocess.CompletedProcess(command, found.returncode, output, errors)

    def close(self) -> None:
        """End what still waits, or was cut off."""
        for _, process in self.waiting:
            process.kill()
            process.communicate()
        self.waiting.clear()
