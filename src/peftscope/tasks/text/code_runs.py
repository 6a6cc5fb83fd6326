"""Programs that a model wrote, run against tests: in a process of their own, with limits, and off unless asked for.

What such a process may do is limited in three ways: by time, memory and size of files (POSIX systems); by an audit hook
that refuses to write outside its empty folder, to start processes and to open connections; and, where the system lets
it, by a network of its own that leads nowhere. This stops what models write by mistake. It is no wall against someone
who means harm: for answers that you have reason to fear, run the study in a container.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["ANSWER", "code_in", "passes"]

ANSWER = "{answer}"
"""Stands in a program for what the model wrote."""
SECONDS = 10
MEMORY_BYTES = 2 * 2**30
FILE_BYTES = 2**20
_FENCE = re.compile(r"```[^\n`]*\n(.*?)(?:\n```|\Z)", re.DOTALL)

# Runs what comes on its standard input behind a first line; that line is written out when the program has come to its
# end, so that one which leaves early, whatever its exit status, has not passed.
_RUNNER = """
import builtins, os, sys

def limited():
    try:
        import resource
    except ImportError:
        return
    sizes = {"RLIMIT_CPU": %(seconds)d, "RLIMIT_AS": %(memory)d, "RLIMIT_FSIZE": %(file)d, "RLIMIT_CORE": 0}
    for name, size in sizes.items():
        try:
            resource.setrlimit(getattr(resource, name), (size, size))
        except (ValueError, OSError):
            pass

def without_network():
    try:
        import ctypes
        ctypes.CDLL(None).unshare(0x10000000 | 0x40000000)
    except (OSError, AttributeError, ImportError):
        pass

def guard(folder):
    real, inside = os.path.realpath, folder + os.sep
    refused = ("subprocess.", "socket.", "ctypes.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system",
               "os.kill", "os.chmod", "os.chown", "os.link", "os.symlink", "os.startfile", "pty.", "shutil.rmtree",
               "webbrowser.")
    changing = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.utime")

    def hook(event, args):
        if event.startswith(refused):
            raise PermissionError("not allowed here: " + event)
        if event in changing or (event == "open" and writes(args)):
            for path in args[:2 if event == "os.rename" else 1]:
                if isinstance(path, int) or path is None:
                    continue
                if not real(os.fsdecode(path)).startswith(inside):
                    raise PermissionError("not allowed here: " + event + " outside of the program's folder")

    def writes(args):
        mode, flags = args[1] or "", args[2] or 0
        return any(sign in mode for sign in "wax+") if isinstance(mode, str) and mode else flags & (
            os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)

    sys.addaudithook(hook)

done, program = sys.stdin.read().split("\\n", 1)
say, names = sys.stdout.write, {"__name__": "__main__"}
without_network()
limited()
guard(os.path.realpath(os.getcwd()))
exec(compile(program, "<answer>", "exec"), names)
say("\\n" + done + "\\n")
sys.stdout.flush()
"""


def code_in(output: str) -> str:
    r"""The program in an answer: what stands in its first fence, or all of it.

    >>> code_in("Sure:\n```python\nx = 1\n```\nThat is it."), code_in("    return x\n")
    ('x = 1', '    return x\n')
    """
    found = _FENCE.search(output)
    return output if found is None else found[1]


def passes(output: str, program: str) -> float:
    """1 if a program with an answer in it runs to its end, without an error and in time.

    Args:
        output: The answer; of a text with fenced code the code.
        program: Python source in which ``{answer}`` stands for the answer, such as ``{answer}`` and tests after it.
    """
    source = program.replace(ANSWER, code_in(output))
    done = secrets.token_hex(16)
    runner = _RUNNER % {"seconds": SECONDS, "memory": MEMORY_BYTES, "file": FILE_BYTES}
    with tempfile.TemporaryDirectory(prefix="peftscope-answer-") as folder:
        said = Path(folder) / ".out"
        with said.open("wb") as output_file:
            try:
                ended = subprocess.run(
                    [sys.executable, "-I", "-c", runner],
                    input=f"{done}\n{source}".encode("utf-8", "surrogatepass"),
                    cwd=folder,
                    env={"PATH": "", "HOME": folder, "TMPDIR": folder, "PYTHONUTF8": "1"},
                    stdout=output_file,
                    stderr=subprocess.DEVNULL,
                    timeout=SECONDS + 5,
                    start_new_session=True,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return 0.0
        return float(ended.returncode == 0 and said.read_bytes().rstrip().endswith(done.encode()))
