"""The notebook of the documentation, run as a reader runs it: stopped once, and gone on with."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "first_study.ipynb"


def _records(folder: Path) -> set[Path]:
    return set((folder / "results" / "notebook" / "records").glob("*.json"))


def _interrupt_after_the_first_record(client: Any, folder: Path) -> threading.Thread:
    def wait() -> None:
        deadline = time.monotonic() + 120
        while not _records(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(os.getpgid(client.km.provisioner.pid), signal.SIGINT)  # what the stop button does

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_notebook_goes_from_a_csv_to_a_recommendation_interrupted_once(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(len(cell.source.splitlines()) for cell in code) < 15
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    with client.setup_kernel():
        for cell in code[:2]:
            client.execute_cell(cell, notebook.cells.index(cell))
        run, recommended = code[2], code[3]
        thread = _interrupt_after_the_first_record(client, tmp_path)
        with pytest.raises(CellExecutionError, match="KeyboardInterrupt"):
            client.execute_cell(run, notebook.cells.index(run))
        thread.join()
        before = {path: path.stat().st_mtime_ns for path in _records(tmp_path)}
        assert 0 < len(before) < 5
        client.execute_cell(run, notebook.cells.index(run))
        assert len(_records(tmp_path)) == 5
        done = {path: at for path, at in before.items() if '"status":"killed"' not in path.read_text().replace(" ", "")}
        assert all(path.stat().st_mtime_ns == at for path, at in done.items())
        client.execute_cell(recommended, notebook.cells.index(recommended))
    shown = recommended.outputs[-1]["data"]
    assert "What this rests on" in shown["text/html"]
    assert "What this rests on" in shown["text/plain"]
