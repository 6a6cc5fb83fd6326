"""Whoever reads a study's folder says in one line which field of a file is wrong, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.pretend import a_record, a_run, a_study_folder

from peftscope.errors import StoreError
from peftscope.execution.status import read_status
from peftscope.methods.portable import ADAPTER_FILE, CONFIG_FILE, portable_config
from peftscope.store.files import read_record, record_path
from peftscope.store.race import RACE_FILE, race_looks
from peftscope.store.study import STUDY_FILE, read_stored_study

RUN = a_run()


def _noted_race(folder: Path) -> str:
    notes: list[str] = []
    race_looks(folder, notes)
    return notes[0]


def _race(folder: Path) -> str:
    with pytest.raises(StoreError) as caught:
        race_looks(folder)
    return str(caught.value)


def _study(folder: Path) -> str:
    notes: list[str] = []
    read_stored_study(folder, notes, then="runs still to do are not known")
    return notes[0]


def _record(folder: Path) -> str:
    with pytest.raises(StoreError) as caught:
        read_record(record_path(folder, RUN.run_id))
    return str(caught.value)


def _status(folder: Path) -> str:
    return read_status(folder).notes[0]


RECORD = f"records/{RUN.run_id}.json"
STUDY = {"name": "demo", "model": "m", "task": "math", "methods": ["lora"]}
READERS = [(RACE_FILE, _noted_race), (RACE_FILE, _race), (STUDY_FILE, _study), (RECORD, _record), (RECORD, _status)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return a_study_folder(tmp_path / "demo", records=[a_record(RUN)])


@pytest.mark.parametrize(("name", "said_by"), READERS)
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b'[{"a', "not valid JSON: "),
        (b"7", "given 7"),
        (b"null", "given None"),
    ],
)
def test_an_unreadable_file_says_why_in_one_line(
    folder: Path, name: str, said_by: Callable[[Path], str], content: bytes, why: str
) -> None:
    (folder / name).write_bytes(content)
    said = said_by(folder)
    assert str(folder / name) in said
    assert why in said
    assert "\n" not in said
    assert not any(word in said for word in ("validation error", "study: ", "instance of", "object has no"))


@pytest.mark.parametrize(
    ("name", "said_by", "changes", "why"),
    [
        (RACE_FILE, _noted_race, {"run_ids": 3}, "[0].run_ids: input should be a list, such as [a, b]; given 3 (and "),
        (RACE_FILE, _race, {"run_ids": 3}, "[0].run_ids: input should be a list, such as [a, b]; given 3 (and "),
        (STUDY_FILE, _study, {"seedz": 3}, "seedz: unknown setting 'seedz'; did you mean 'seeds'?"),
        (RECORD, _record, {"status": "fine"}, "status: input should be 'ok'"),
        (RECORD, _status, {"status": "fine"}, "status: input should be 'ok'"),
        (RECORD, _status, {"curve": 3}, "curve: input should be"),
        (RECORD, _status, {"curve": [3]}, "curve[0]: input should be a mapping; given 3"),
    ],
)
def test_an_unreadable_file_names_the_field_that_is_wrong(
    folder: Path, name: str, said_by: Callable[[Path], str], changes: dict[str, Any], why: str
) -> None:
    sound = json.loads((folder / name).read_text()) if name == RECORD else STUDY if name == STUDY_FILE else {}
    raw = {**sound, **changes}
    (folder / name).write_text(json.dumps([raw] if name == RACE_FILE else raw))
    assert why in said_by(folder)


def test_an_adapters_broken_config_says_why(tmp_path: Path) -> None:
    (tmp_path / ADAPTER_FILE).touch()
    for content, why in ((b"", "the file is empty"), (b"{", "not valid JSON"), (b"\xff", "not a text in UTF-8")):
        (tmp_path / CONFIG_FILE).write_bytes(content)
        with pytest.raises(StoreError, match=f"cannot be read: {why}"):
            portable_config(tmp_path)
