"""Records are written whole or not at all, and what is there is never lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from peftscope.errors import StoreError
from peftscope.schema.record import Attempt, ExampleOutcome, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.store.files import read_record, read_records, record_path, write_record, write_text
from peftscope.store.frame import examples_of, frame_of

RUN = RunSpec(model="m", task="math", method="lora", learning_rate=1e-4)


def _record(status: str = "ok", **fields: object) -> RunRecord:
    attempt = Attempt(started_at="2026-01-01", ended_at="2026-01-01", status=status, reason=None)
    return RunRecord(run_id=RUN.run_id, spec=RUN, status=status, attempts=(attempt,), **fields)


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = _record(metrics={"test_score": 0.5, "drift": None}, missing={"drift": "not asked for"})
    write_record(tmp_path, record)
    assert read_records(tmp_path) == [record]


def test_a_second_attempt_is_added_to_the_first(tmp_path: Path) -> None:
    write_record(tmp_path, _record("error"))
    write_record(tmp_path, _record("ok"))
    record = read_record(record_path(tmp_path, RUN.run_id))
    assert record.status == "ok"
    assert [a.status for a in record.attempts] == ["error", "ok"]


def test_a_half_written_file_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_text(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        write_text(path, "new" * 1000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_record_is_moved_aside_when_its_run_is_repeated(tmp_path: Path) -> None:
    path = write_record(tmp_path, _record())
    path.write_text("{")
    write_record(tmp_path, _record())
    assert read_records(tmp_path) == [_record()]
    assert path.with_suffix(".unreadable").read_text() == "{"


def test_record_file_permissions_follow_the_umask(tmp_path: Path) -> None:
    path = write_record(tmp_path, _record())
    plain = tmp_path / "plain"
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    path = record_path(tmp_path, "broken")
    path.parent.mkdir()
    path.write_text('{"schema": "peftscope.record/1", "run_')
    with pytest.raises(StoreError, match=r"broken\.json: not a readable record"):
        read_records(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written to"):
        write_record(tmp_path / "file", _record())


def test_failed_runs_are_ordinary_rows_of_the_frame() -> None:
    frame = frame_of([_record("oom"), _record("ok", metrics={"test_score": 0.5})])
    assert list(frame["status"]) == ["oom", "ok"]
    assert frame["test_score"].isna().tolist() == [True, False]


def test_examples_are_one_row_each() -> None:
    record = _record(examples=(ExampleOutcome(example_id="a", score=1.0), ExampleOutcome(example_id="b", score=0.0)))
    assert examples_of([record])["score"].tolist() == [1.0, 0.0]
