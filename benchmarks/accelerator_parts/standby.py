"""A process that imports first, and is told later which script to run.

python standby.py MODULE,MODULE says "ready" when it has imported them, then reads one line: a script and its arguments,
as JSON
"""

from __future__ import annotations

import json
import runpy
import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    for name in sys.argv[1].split(","):
        import_module(name)
    print("ready", flush=True)
    if line := sys.stdin.readline():
        sys.argv = json.loads(line)
        sys.path[0] = str(Path(sys.argv[0]).parent)
        runpy.run_path(sys.argv[0], run_name="__main__")
