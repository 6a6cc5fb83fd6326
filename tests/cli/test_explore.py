"""The explorer, as a stranger starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
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


@pytest.mark.parametrize("after_s", [0.0, 0.3])
def test_two_interrupts_end_it_without_a_traceback(after_s: float, tmp_path: Path) -> None:
    make_study(tmp_path / "results/s", {"base": 0.1, "lora": 0.5})
    with subprocess.Popen(
        [sys.executable, "-m", "peftscope", "explore"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        server.stdout.readline()
        time.sleep(after_s)  # at once it is still starting
        for _ in range(2):
            server.send_signal(signal.SIGINT)
            time.sleep(0.02)  # two that come at once are one to the system
        _, err = server.communicate(timeout=20)
        assert "Traceback" not in err
        assert server.returncode in (0, -signal.SIGINT)  # the second may come when all has ended


def test_published_results_are_on_screen_without_a_study_and_end_with_an_interrupt(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "peftscope", "explore", "--published"],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ, "PEFTSCOPE_CACHE": str(tmp_path / "cache")},
    ) as server:  # fmt: skip
        assert server.stdout is not None
        said = server.stdout.readline()
        assert said.startswith("published text results of 2026-08-21, ")
        address = said.split(": ")[1].split()[0]
        with urllib.request.urlopen(f"{address}api/published-text-2026-08-21/runs") as answer:
            assert b"tinylora/llama-3.2-3B-default" in answer.read()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=20) == 0


def test_a_release_is_recommended_from_and_an_unknown_one_refused(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEFTSCOPE_CACHE", str(tmp_path / "cache"))
    code, out, _ = call("recommend", "published:images-2026-06-18", "--max", "memory=10GB")
    assert code == 0
    assert "Take oft/flux2-klein-default" in out
    code, _, err = call("recommend", "published:images-2026-06-17")
    assert code == 2
    assert "did you mean 'published:images-2026-06-18'?" in err
