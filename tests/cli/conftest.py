"""The command line, called as a stranger would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from peftscope.cli import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def columns() -> int:
    """Width of the terminal; a module that looks at another one overrides it."""
    return 200


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, columns: int) -> Call:
    """Calls the command line in a folder of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(columns))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["peftscope", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run
