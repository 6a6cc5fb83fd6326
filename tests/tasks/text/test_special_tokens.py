"""Special tokens that people's rows already carry neither double nor hide right answers."""

from __future__ import annotations

from typing import Any

import pytest

from peftscope.tasks.text.examples import TextExample
from peftscope.tasks.text.special_tokens import without_doubled_tokens


def _rows(*pairs: tuple[str, str]) -> list[TextExample]:
    return [TextExample(example_id=str(i), prompt=p, target=t, solution=t) for i, (p, t) in enumerate(pairs)]


class Adding:
    """A tokenizer that puts a BOS in front."""

    bos_token, eos_token, bos_token_id, eos_token_id = "<s>", "</s>", 1, 2
    all_special_tokens = ("<s>", "</s>", "<|user|>")
    adds = True

    def __call__(self, texts: Any, **options: Any) -> dict[str, Any]:
        return {"input_ids": [[1, 5] if self.adds else [5] for _ in texts]}


class Plain(Adding):
    adds = False


def test_what_tokenising_adds_is_taken_off_and_counted() -> None:
    found, notes = without_doubled_tokens(
        _rows(("<s>Q", "A</s>"), ("Q", "A </s>\n"), ("Q", "A")), Adding(), split="train"
    )
    assert [(e.prompt, e.target, e.solution) for e in found] == [("Q", "A", "A"), ("Q", "A ", "A "), ("Q", "A", "A")]
    assert notes == [
        "train: 1 of 3 rows begin with <s>, which is added anyway: taken off",
        "train: 2 of 3 rows end with </s>, which is added anyway: taken off",
    ]


def test_a_bos_stays_where_the_tokenizer_adds_none() -> None:
    found, notes = without_doubled_tokens(_rows(("<s>Q", "A")), Plain(), split="test")
    assert found[0].prompt == "<s>Q"
    assert "<s> in 1" in notes[0]


def test_special_tokens_inside_a_text_are_reported() -> None:
    _, notes = without_doubled_tokens(_rows(("<|user|> Q", "A"), ("Q", "A")), Adding(), split="valid")
    assert notes == ["valid: special tokens stand in the text, as if a template were filled already: <|user|> in 1"]


@pytest.mark.parametrize("tokenizer", [Adding(), Plain()])
def test_plain_rows_stay_as_they_are(tokenizer: Adding) -> None:
    rows = _rows(("Q?", "A."))
    assert without_doubled_tokens(rows, tokenizer, split="train") == (rows, [])
