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
        ("d.json", b'{"a": [{"x": 1}], "b": [{"x": 2}]}', "2 lists of rows in it (a, b); keep one"),
        ("d.jsonl", b"\n", "d.jsonl: no rows"),
        ("d.csv", b"a,b\n", "d.csv: no rows"),
        ("d.csv", b"a,b\n1,2\n1,2,3\n", r"d.csv: line 3: 3 cells, 2 columns (a, b); text with the delimiter"),
        ("d.csv", b"a,b\n1\n", "line 2: 1 cells, 2 columns"),
        ("d.csv", b"a,a,b\n1,2,3\n", "two columns are called 'a'"),
        ("d.jsonl", b'{"a": 1}\n{"a": 1, "b": 2, "a": 3}\n', "d.jsonl: line 2: two values are called 'a'"),
        ("d.jsonl", b'{"a": 1, "a": 3}\n{"a": 1}\n', "two values are called 'a'"),
        ("d.json", b"[" * 100_000, "nested too deeply"),
        ("d.csv", b"a,b\n\x00,1\n", "d.csv: no text; allowed are JSON"),
        ("d.csv", "a,b\n".encode("utf-16") + b"x", "d.csv: not the UTF-16 text"),
        ("d.parquet", b"PAR1 and nothing more", "d.parquet: not a readable Parquet file"),
        ("d.arrow", b"ARROW1 and nothing more", "d.arrow: not a readable Arrow file"),
        ("d.xlsx", b"PK\x03\x04", "a zip archive, such as an Excel workbook; save its rows as CSV"),
    ],
)
def test_an_unreadable_file_is_rejected_with_the_location(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_file(str(tmp_path / name))
    assert message in str(caught.value)


TICKETS = [{"text": "It's late; very", "team": "post"}, {"text": 'They said "no"', "team": "billing"}]


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("lines.json", "\n".join(map(json.dumps, TICKETS)).encode(), None),
        ("list.jsonl", json.dumps(TICKETS, indent=1).encode(), None),
        ("anything", "\n".join(map(json.dumps, TICKETS)).encode(), None),
        ("keyed.json", json.dumps({"version": 2, "rows": TICKETS}, indent=1).encode(), "those under 'rows'"),
        ("keyed.jsonl", json.dumps({"rows": TICKETS}).encode(), "those under 'rows'"),
        ("d.csv", b'text;team\n"It\'s late; very";post\n"They said ""no""";billing\n', "separated by a semicolon"),
        ("d.txt", b'text|team\nIt\'s late; very|post\n"They said ""no"""|billing\n', "separated by a bar"),
        ("d.csv", b'text,team\n"It\'s late; very",post\n"They said \\"no\\"",billing\n', 'written as \\"'),
        ("d.csv", b' text, team,\nIt\'s late; very,post,\n"They said ""no""",billing,\n', None),
        ("d.csv", 'text,team\nIt\'s late; very,post\n"They said ""no""",billing\n'.encode("utf-16"), None),
    ],
)
def test_a_file_is_read_by_its_content(tmp_path, name, content, note):
    (tmp_path / name).write_bytes(content)
    table = read_file(str(tmp_path / name))
    assert list(table.rows) == TICKETS
    assert (note in table.notes[0]) if note else table.notes == ()


def test_a_guessed_encoding_is_named(tmp_path):
    (tmp_path / "d.csv").write_bytes("q,a\nWie groß?,schön\n".encode("cp1252"))
    table = read_file(str(tmp_path / "d.csv"))
    assert list(table.rows) == [{"q": "Wie groß?", "a": "schön"}]
    assert "read as cp1252, which is a guess" in table.notes[0]
    text = "вопрос,ответ\n" + "".join(f"Как пройти в библиотеку номер {i}?,Прямо и налево\n" for i in range(40))
    (tmp_path / "r.csv").write_bytes(text.encode("cp1251"))
    table = read_file(str(tmp_path / "r.csv"))
    assert table.rows[3] == {"вопрос": "Как пройти в библиотеку номер 3?", "ответ": "Прямо и налево"}


def test_a_field_of_any_length_is_read(tmp_path):
    (tmp_path / "d.csv").write_text("q,a\n" + "x" * 300_000 + ",y\n")
    assert len(read_file(str(tmp_path / "d.csv")).rows[0]["q"]) == 300_000


def test_cells_of_every_kind_of_column_are_text_or_missing(tmp_path):
    import datetime
    import decimal

    import pandas as pd

    row = {"when": datetime.date(2024, 1, 2), "price": decimal.Decimal("1.50"), "yes": True, "gap": float("nan")}
    pd.DataFrame([row, row]).to_parquet(tmp_path / "d.parquet")
    table = read_file(str(tmp_path / "d.parquet"))
    assert [table.cell(0, name) for name in row] == ["2024-01-02", "1.50", "True", None]
    (tmp_path / "d.jsonl").write_text('{"a": NaN}\n{"a": null}\n{"a": ""}\n{"b": 1}\n{"a": "nan"}\n')
    table = read_file(str(tmp_path / "d.jsonl"))
    assert [i for i in range(len(table.rows)) if table.cell(i, "a") is None] == [0, 1, 2, 3]


def test_a_missing_file_suggests_the_closest_filename(tmp_path):
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(DataError, match=r"trian.jsonl: no such file .*did you mean .*train.jsonl\?"):
        read_file(str(tmp_path / "trian.jsonl"))


def test_a_missing_column_reports_existing_columns_and_the_closest_match(tmp_path):
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


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Größe {i};groß", "cp1252"),
        ("L'élève a déjà mangé à l'école, ça va {i};très", "cp1252"),
        ("Zażółć gęślą jaźń, już późno {i};źle", "cp1250"),
        ("Это простой русский текст {i};счёт", "cp1251"),
        ("これは簡単な日本語の文章です {i};配送", "cp932"),
        ("这是一个关于快递的简单句子 {i};发票", "gb18030"),
    ],
)
def test_code_pages_are_told_from_one_another_by_their_letters(tmp_path, text, encoding):
    lines = ["frage;antwort", *(text.replace("{i}", str(i)) for i in range(40))]
    (tmp_path / "d.csv").write_bytes("\n".join(lines).encode(encoding))
    table = read_file(str(tmp_path / "d.csv"))
    assert ";".join(table.rows[3].values()) == lines[4]
    assert f"read as {encoding}" in table.notes[0]
