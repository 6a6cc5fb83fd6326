"""Rows from files: every complaint names the file and the place."""

import json

import pytest

from peftscope.errors import DataError
from peftscope.tasks.text.rows import read_file, read_hub


def test_all_formats_give_the_same_rows(tmp_path):
    import pandas as pd

    rows = [{"q": 'say "hi",\nthere', "a": "1"}, {"q": "ä", "a": "2"}]
    (tmp_path / "d.jsonl").write_text("\n".join(json.dumps(r) for r in rows) + "\n\n", encoding="utf-8")
    (tmp_path / "d.json").write_text(json.dumps(rows), encoding="utf-8")
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "d.csv", index=False)
    (tmp_path / "bom.csv").write_text((tmp_path / "d.csv").read_text(), encoding="utf-8-sig")
    frame.to_csv(tmp_path / "d.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "d.parquet")
    for name in ("d.jsonl", "d.json", "d.csv", "bom.csv", "d.tsv", "d.parquet"):
        assert list(read_file(str(tmp_path / name)).rows) == rows, name


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.jsonl", b'{"a": 1}\n{"a": \n', "d.jsonl: line 2: not JSON"),
        ("d.jsonl", b'{"a": 1}\n[1]\n', "d.jsonl: line 2: a row is an object with columns, got list"),
        ("d.json", b'{"a": 1}', "a JSON list of rows is needed, got dict"),
        ("d.jsonl", b"\n", "d.jsonl: no rows"),
        ("d.csv", b"a,b\n", "d.csv: no rows"),
        ("d.csv", b"a,b\n1,2\n1,2,3\n", r"d.csv: line 3: not as many cells as columns \(a, b\)"),
        ("d.csv", b"a,b\n1\n", "line 2: not as many cells"),
        ("d.csv", "a,b\nä,1\n".encode("latin-1"), "d.csv: not UTF-8 text"),
        ("d.parquet", b"not parquet", "d.parquet: not a readable Parquet file"),
        ("d.xlsx", b"", r".xlsx suffix; allowed: .jsonl"),
    ],
)
def test_an_unreadable_file_is_refused_with_the_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_file(str(tmp_path / name))


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(DataError, match=r"trian.jsonl: no such file .*did you mean .*train.jsonl\?"):
        read_file(str(tmp_path / "trian.jsonl"))


def test_a_missing_column_names_the_columns_there_and_the_nearest(tmp_path):
    (tmp_path / "d.csv").write_text("question,answer\n1,2\n")
    message = r"d.csv: unknown column 'anwser'; did you mean 'answer'\? Allowed: answer, question"
    with pytest.raises(DataError, match=message):
        read_file(str(tmp_path / "d.csv")).require(["question", "anwser"])


def test_an_empty_or_unusable_cell_is_refused_with_its_row(tmp_path):
    (tmp_path / "d.jsonl").write_text('{"a": "x"}\n{"a": " "}\n{"a": ["x"]}\n{"a": 4}\n')
    table = read_file(str(tmp_path / "d.jsonl"))
    assert (table.text(0, "a"), table.text(3, "a")) == ("x", "4")
    with pytest.raises(DataError, match="row 2: column 'a' is empty"):
        table.text(1, "a")
    with pytest.raises(DataError, match="row 3: column 'a' holds a list"):
        table.text(2, "a")


def test_a_hub_data_set_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere, split train: cannot be loaded"):
        read_hub(str(tmp_path / "nowhere"), split="train")
