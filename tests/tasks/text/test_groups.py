"""Promises about rows that hang together: they stay in one split, and the score knows of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from peftscope.errors import DataError
from peftscope.tasks.base import TaskContext
from peftscope.tasks.text.options import OwnDataOptions
from peftscope.tasks.text.own_data import OwnDataTask


def _task(
    tmp_path: Path, rows: list[dict[str, str]], tokenizer: PreTrainedTokenizerFast, **options: object
) -> OwnDataTask:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"train": str(path), "prompt": "{q}", "target": "a", "test_size": 20, "valid_size": 10, **options}
    return OwnDataTask(OwnDataOptions.model_validate(given), TaskContext(processor=tokenizer))


def _rows(count: int, per_document: int = 5) -> list[dict[str, str]]:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    return [
        {"q": f"{words[i % 10]} {words[i // 10 % 10]} {words[i // 100]}", "a": "yes", "doc": f"d{i // per_document}"}
        for i in range(count)
    ]


def test_rows_of_a_group_stay_in_one_split_and_carry_it(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    task = _task(tmp_path, _rows(100), tiny_tokenizer, group="doc")
    groups = {split: Counter(e.group for e in task._examples[split]) for split in ("valid", "test")}
    for found in groups.values():
        assert set(found.values()) == {5}
    assert not groups["valid"].keys() & groups["test"].keys()
    assert not {e.group for e in task._examples["train"]} & (groups["valid"].keys() | groups["test"].keys())


def test_rows_with_equal_prompts_are_grouped_by_default_and_reported(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = [row for row in _rows(40) for _ in range(3)]
    task = _task(tmp_path, rows, tiny_tokenizer, test_size=21, valid_size=9)
    assert set(Counter(e.group for e in task._examples["test"]).values()) == {3}
    assert any("test: 21 of 21 rows ask what another asks, 7 different ones" in note for note in task.warnings())


def test_rows_that_all_differ_are_not_grouped(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    task = _task(tmp_path, _rows(100), tiny_tokenizer)
    assert {e.group for e in task._examples["test"]} == {None}
    assert not any("rows" in note for note in task.warnings())


def test_near_duplicates_are_reported_with_the_advice_to_set_a_group(
    tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = [{"q": f"where is parcel {i}?", "a": "here"} for i in range(100)]
    task = _task(tmp_path, rows, tiny_tokenizer)
    assert any(
        "20 of 20 rows differ from another only in numbers" in note and "'group'" in note for note in task.warnings()
    )


def test_a_group_that_is_no_column_is_refused(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match="dok"):
        _task(tmp_path, _rows(40), tiny_tokenizer, group="dok")


def test_cached_splits_preserve_their_groups(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    task = _task(tmp_path, _rows(100), tiny_tokenizer, group="doc")
    task.save_cache(tmp_path)
    again = OwnDataTask.from_cache(task.options, task.context, tmp_path)  # type: ignore[arg-type]
    assert [e.group for e in again._examples["test"]] == [e.group for e in task._examples["test"]]
