"""The explorer, as a stranger starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")

from pretend_study import make_study

Call = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["nowhere"], "no such file or folder"),
        (["."], "holds no records"),
        (["--host", "203.0.113.7"], "cannot listen on 203.0.113.7"),
        (["--port", "99999"], "--port"),
    ],
)
def test_wrong_requests_end_with_exit_code_2_and_say_why(
    arguments: list[str], part: str, call: Call, tmp_path: Path
) -> None:
    make_study(tmp_path / "results/s", {"base": 0.1, "lora": 0.5})
    code, out, err = call("explore", *arguments)
    assert code == 2
    assert part in err
    assert not out


def test_it_takes_the_next_port_answers_and_ends_with_an_interrupt(tmp_path: Path) -> None:
    make_study(tmp_path / "results/s", {"base": 0.1, "lora": 0.5})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with subprocess.Popen(
            [sys.executable, "-m", "peftscope", "explore", "--port", str(min(port, 65_515))],
            cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"},
        ) as server:  # fmt: skip
            assert server.stdout is not None
            said = server.stdout.readline()
            address = said.split()[1]
            assert said.startswith("s: http://127.0.0.1:")
            assert address != f"http://127.0.0.1:{port}/"
            with urllib.request.urlopen(f"{address}api/index") as answer:
                assert answer.status == 200
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=20) == 0
