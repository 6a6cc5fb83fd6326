"""Whatever stands in a row: readers, parsers and templates neither crash nor change it silently."""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from peftscope.capture import capture
from peftscope.errors import DataError
from peftscope.tasks.text import text_metrics
from peftscope.tasks.text.answers import extract_number, extract_solution, extract_text, is_correct, parse_number
from peftscope.tasks.text.chat_template import ChatTemplate
from peftscope.tasks.text.chat_tokens import encode_chats
from peftscope.tasks.text.paths import value_at
from peftscope.tasks.text.rows import read_file
from peftscope.tasks.text.template import fill_template, template_fields
from peftscope.tasks.text.turns import Turn
from tasks.text.chat_fixtures import FAMILIES, Family, tokenizer_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
FILLED = TEXT.filter(lambda text: text.strip() != "")
NAME = st.text("abcdefgh", min_size=1, max_size=6)
OFTEN = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SELDOM = settings(OFTEN, max_examples=25)
FAMILY = {family.name: (family, tokenizer_of(family)) for family in FAMILIES}
CELL = TEXT.filter(lambda text: not set(text) & set("\x00\ufeff"))


@OFTEN
@given(rows=st.lists(st.dictionaries(NAME, TEXT | st.integers() | st.none(), min_size=1), min_size=2, max_size=6))
def test_json_lines_come_back_as_they_were_written(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "d.txt"
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    assert list(read_file(str(path)).rows) == rows


@OFTEN
@given(
    cells=st.lists(st.tuples(CELL, CELL.filter(lambda text: text.strip() != "")), min_size=3, max_size=8),
    delimiter=st.sampled_from([",", ";", "\t"]),
)
def test_quoted_csv_comes_back_as_it_was_written(cells: list[tuple[str, str]], delimiter: str, tmp_path: Path) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("question", "answer"), *cells])
    path = tmp_path / "d.csv"
    path.write_bytes(written.getvalue().encode())
    assert [tuple(row.values()) for row in read_file(str(path)).rows] == cells


@OFTEN
@given(raw=st.binary(min_size=1, max_size=200))
def test_any_bytes_are_read_or_refused_with_the_files_name(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "d.bin"
    path.write_bytes(raw)
    failure = capture(lambda: list(read_file(str(path)).rows))
    assert failure is None or "d.bin" in failure.reason, failure


@OFTEN
@given(text=TEXT, other=TEXT)
def test_answers_are_parsed_out_of_any_text(text: str, other: str) -> None:
    extract_number(text), extract_text(text), extract_solution(text), parse_number(text)
    assert is_correct(text, text) or not text.strip() or extract_text(text) is None or parse_number(text) is not None
    for score in (
        text_metrics.exact_match(text, other, ignore_case=True),
        text_metrics.normalized_match(text, other),
        text_metrics.token_f1(text, other),
        text_metrics.json_fields(text, other),
    ):
        assert 0.0 <= score <= 1.0
    assert text_metrics.exact_match(text, text, ignore_case=False) == 1.0
    assert text_metrics.token_f1(text, text) == 1.0


@OFTEN
@given(number=st.integers(0, 10**12), before=st.sampled_from(["", "It is ", "USD", "共", "= "]), grouped=st.booleans())
def test_a_number_is_found_however_it_is_written(number: int, before: str, grouped: bool) -> None:
    assert extract_number(before + (f"{number:,}" if grouped else str(number))) == number


@OFTEN
@given(value=st.recursive(st.none() | st.integers() | TEXT, lambda inner: st.dictionaries(NAME, inner, max_size=3)))
def test_json_equals_itself_whatever_its_order(value: Any) -> None:
    text = json.dumps({"answer": value})
    assert text_metrics.json_fields(f"Here: {text}", text) == 1.0


@OFTEN
@given(parts=st.lists(TEXT | NAME.map(lambda name: f"{{{name}}}"), max_size=5), value=TEXT)
def test_templates_keep_values_and_text_as_they_are(parts: list[str], value: str) -> None:
    template = "".join(parts)
    fields: tuple[str, ...] = ()
    with suppress(ValueError):  # empty braces
        fields = template_fields(template)
    assume(fields or "{" not in template)
    filled = fill_template(template, dict.fromkeys(fields, value))
    if "{" not in template:
        assert filled == template
    assert all(value in filled for _ in fields)


@OFTEN
@given(row=st.dictionaries(NAME, TEXT | st.lists(TEXT, max_size=3), max_size=3), path=TEXT | NAME)
def test_any_path_finds_a_value_or_nothing(row: dict[str, Any], path: str) -> None:
    found = value_at(row, path)
    assert found is None or path in row or "[" in path or "." in path


@SELDOM
@pytest.mark.parametrize("name", FAMILY)
@given(said=st.lists(st.tuples(FILLED, FILLED), min_size=1, max_size=3))
def test_any_conversation_is_learned_exactly_or_refused(name: str, said: list[tuple[str, str]]) -> None:
    """What is learned decodes to the answers, trimmed where the template trims, and nothing of the questions."""
    family, tokenizer = FAMILY[name]
    turns = [turn for question, answer in said for turn in (Turn("user", question), Turn("assistant", answer))]
    template = ChatTemplate(tokenizer, family.template, family.name)
    encoded = None
    with suppress(DataError):  # refused, not guessed
        encoded = encode_chats(template, {"a": turns}, train_on="assistant", max_length=100_000)
    assume(encoded is not None)
    assert encoded is not None
    learned = [int(token) for token, is_learned in zip(encoded[0], encoded.mask(0)) if is_learned]
    reference = [text for text, is_said in _pieces(family, turns) if is_said]
    assert _bare(tokenizer.decode(learned)) == _bare("".join(reference))


def _pieces(family: Family, turns: list[Turn]) -> list[tuple[str, bool]]:
    return list(family.pieces(turns))


def _bare(text: str) -> str:
    return "".join(text.split())
