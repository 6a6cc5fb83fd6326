"""What the columns of a table tell, and values inside of rows."""

from __future__ import annotations

from typing import Any

import pytest

from peftscope.errors import DataError
from peftscope.tasks.text.layouts import recognise
from peftscope.tasks.text.paths import value_at
from peftscope.tasks.text.rows import Table
from peftscope.tasks.text.turns import Turn

Q, A = Turn("user", "Why?"), Turn("assistant", "So.")
ASKED = [{"role": "user", "content": "Why?"}]
ANSWERED = [{"role": "assistant", "content": "So."}]


def _table(row: dict[str, Any]) -> Table:
    return Table(source="d.jsonl", label="d", rows=[row])


@pytest.mark.parametrize(
    ("row", "prompt", "target", "turns"),
    [
        ({"messages": ASKED + ANSWERED}, "Why?", "So.", (Q, A)),
        ({"id": "x", "conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
         "Why?", "So.", (Q, A)),
        ({"thread": ASKED + ANSWERED + ASKED}, "Why?", "So.", (Q, A)),
        ({"prompt": ASKED, "completion": ANSWERED}, "Why?", "So.", (Q, A)),
        ({"prompt": "Why?", "completion": "So."}, "Why?", "So.", ()),
        ({"instruction": "Why?", "input": "", "output": "So."}, "Why?\n\n", "So.", ()),
        ({"instruction": "Sum up.", "input": "A b.", "output": "A."}, "Sum up.\n\nA b.\n\n", "A.", ()),
        ({"Instruction": "Why?", "Response": "So."}, "Why?\n\n", "So.", ()),
        ({"question": "Why?", "answer": "So."}, "Question: Why?\nAnswer:", "So.", ()),
        ({"id": 1, "context": "C.", "question": "Why?", "answers": {"text": ["So."], "answer_start": [0]}},
         "C.\n\nQuestion: Why?\nAnswer:", "So.", ()),
        ({"id": 3, "text": "It burns", "team": "fire"}, "It burns\nTeam:", "fire", ()),
        ({"sentence": "Nice", "label": 1, "idx": 0}, "Nice\nLabel:", "1", ()),
        ({"prompt": "Why?", "chosen": "So.", "rejected": "No."}, "Why?", "So.", ()),
        ({"chosen": ASKED + ANSWERED, "rejected": ASKED}, "Why?", "So.", (Q, A)),
        ({"prompt": "Why?", "chosen": ASKED + ANSWERED, "rejected": ASKED}, "Why?", "So.", (Q, A)),
        ({"prompt": ASKED, "chosen": ANSWERED, "rejected": ANSWERED}, "Why?", "So.", (Q, A)),
        ({"prompt": "Why?", "chosen": ANSWERED, "rejected": ANSWERED}, "Why?", "So.", (Q, A)),
        ({"chosen": "\n\nHuman: Why?\n\nAssistant: So.", "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
         "Why?", "So.", (Q, A)),
        ({"nr": 1, "frage": "Why?", "antwort": "So."}, "Why?\nAntwort:", "So.", ()),
        ({"text": "Once upon a time."}, "", "Once upon a time.", ()),
    ],
)  # fmt: skip
def test_the_conventions_of_the_ecosystem_are_recognised(
    row: dict[str, Any], prompt: str, target: str, turns: tuple[Turn, ...]
) -> None:
    table = _table(row)
    layout = recognise(table)
    table.require(layout.columns)
    text = layout.text(table, 0)
    assert (text.prompt, text.target, text.turns) == (prompt, target, turns)


def test_columns_that_tell_nothing_are_listed() -> None:
    with pytest.raises(DataError, match=r"It has colour, weight, price; give 'prompt'"):
        recognise(_table({"colour": "red", "weight": 1, "price": 2}))


def test_a_conversation_without_an_answer_has_no_target() -> None:
    for turns in (ASKED, [*ASKED, {"role": "assistant", "content": " "}]):
        table = _table({"messages": turns})
        assert recognise(table).text(table, 0).target is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b", "a column of that name"),
        ("messages[-1].content", "So."),
        ("messages[0][content]", "Why?"),
        ("messages[0]['role']", "user"),
        ("answers.text[1]", "two"),
        ("answers.text[7]", None),
        ("answers.nothing.here", None),
        ("nothing", None),
        ("messages", [*ASKED, *ANSWERED]),
    ],
)
def test_values_inside_of_rows_are_named_by_path(path: str, value: Any) -> None:
    row = {"a": {"b": "inside"}, "a.b": "a column of that name", "messages": [*ASKED, *ANSWERED],
           "answers": {"text": ["one", "two"]}}  # fmt: skip
    assert value_at(row, path) == value
