"""How rows are laid out: which columns are prompt and answer, or hold a conversation; the conventions people follow.

A study that names ``prompt`` and ``target``, or ``turns``, is taken by its word; otherwise the columns tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, overload

from peftscope.errors import DataError
from peftscope.tasks.text.paths import value_at
from peftscope.tasks.text.rows import Table
from peftscope.tasks.text.template import fill_template, template_fields
from peftscope.tasks.text.turns import Turn, holds_turns, plain_text, turns_of

__all__ = ["Layout", "Text", "Texts", "is_conversation", "recognise", "turns_layout", "with_system", "written_layout"]

SAMPLE = 200
"""Rows that a convention is told from."""
TURN_COLUMNS = ("messages", "conversations", "conversation", "chat", "dialogue", "dialog", "turns")
ASKING = ("prompt", "question", "query", "problem", "input")
ANSWERING = ("completion", "response", "output", "answer", "target", "solution", "reply")
PAIRS = (*product(ASKING, ANSWERING), ("source", "target"), ("document", "summary"), ("article", "highlights"))
"""Columns of question and answer, in the order they are looked for."""
INPUTS = ("text", "sentence", "content", "message", "body", "review", "comment", "description", "title", "utterance")
LABELS = ("label", "labels", "class", "category", "intent", "sentiment", "topic", "team", "target", "tag", "type")
"""Columns of a text and of what it is sorted into."""
SYSTEM = ("system", "system_prompt")
NUMBERS = ("id", "idx", "index", "uid", "no", "nr", "row", "")
"""Columns that only tell rows apart."""
ALPACA_ANSWERS = ("output", "response", "answer", "completion")
_HELD = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \n]?")


@dataclass(frozen=True, kw_only=True)
class Text:
    """What a row is made into: prompt and answer, or a conversation that ends in the answer."""

    prompt: str
    target: str | None
    """None where the row has none."""
    turns: tuple[Turn, ...] = ()
    num_left_out: int = 0
    """Turns after the last answer."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a row is made into prompt and answer."""

    name: str
    """How it is told: ``conversations in 'messages'``, ``prompt 'question', answer 'answer'``."""
    columns: tuple[str, ...]
    """Columns, or paths in them, that have to be there."""
    text: Callable[[Table, int], Text]
    """A row by its position.

    Raises:
        DataError: It cannot be read; names row and column.
    """
    prompt: str | None = None
    """Template of the prompt that does the same, for a study to be written; None for conversations."""
    target: str | None = None
    """Column of the answer, likewise."""
    turns: str | None = None
    """Column of the conversation."""
    system: str | None = None
    """Column of a system prompt."""
    is_plain_text: bool = False
    """Whether there is no prompt: the text itself is learned."""


class Texts(Sequence[Text]):
    """The rows of a table in a layout, each made when it is asked for.

    Raises:
        DataError: A row that is asked for cannot be read.
    """

    def __init__(self, table: Table, layout: Layout) -> None:
        self._table, self._layout = table, layout

    def __len__(self) -> int:
        return len(self._table.rows)

    def __iter__(self) -> Iterator[Text]:
        return (self._layout.text(self._table, index) for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Text: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Text]: ...
    def __getitem__(self, index: int | slice) -> Text | Sequence[Text]:
        places = range(len(self))[index]
        make = self._layout.text
        return make(self._table, places) if isinstance(places, int) else [make(self._table, i) for i in places]


def written_layout(prompt: str, target: str) -> Layout:
    """That of a prompt template and the column, or path, of the answer."""
    fields = template_fields(prompt)

    def text(table: Table, index: int) -> Text:
        values = {name: table.cell(index, name) or "" for name in fields}
        return Text(prompt=fill_template(prompt, values), target=table.cell(index, target))

    return Layout(
        name=f"prompt from {', '.join(map(repr, fields)) or 'nothing'}, answer {target!r}",
        columns=(*fields, target),
        text=text,
        prompt=prompt,
        target=target,
        is_plain_text=not prompt,
    )


def turns_layout(*columns: str, name: str | None = None) -> Layout:
    """That of a conversation in a column, or in several that go on from one another."""

    def text(table: Table, index: int) -> Text:
        turns = [turn for column in columns for turn in _turns(table, index, column)]
        return _conversation(turns)

    told = name or f"conversations in {' and '.join(map(repr, columns))}"
    return Layout(name=told, columns=columns, text=text, turns=columns[0] if len(columns) == 1 else None)


def with_system(layout: Layout, column: str) -> Layout:
    """A layout with the system prompt of another column; rows that have one of their own keep that."""

    def text(table: Table, index: int) -> Text:
        row, said = layout.text(table, index), table.cell(index, column)
        if row.target is None:
            return row
        turns = row.turns or (Turn("user", row.prompt), Turn("assistant", row.target))
        if said is not None and turns[0].role != "system":
            turns = (Turn("system", said), *turns)
        return replace(row, prompt=plain_text(turns[:-1]), turns=turns)

    name, columns = f"{layout.name}, system prompt {column!r}", (*layout.columns, column)
    return replace(layout, name=name, columns=columns, text=text, system=column)


def recognise(table: Table) -> Layout:
    """The layout that a table's columns tell.

    Raises:
        DataError: They tell none; lists them.
    """
    columns = columns_of(table)
    for recognised in (_of_turns, _of_preferences, _of_alpaca, _of_pairs, _of_labels, _of_plain_text, _of_two):
        layout = recognised(table, columns)
        if layout is not None:
            system = next((name for name in columns if name.lower() in SYSTEM and name not in layout.columns), None)
            return layout if system is None or layout.is_plain_text else with_system(layout, system)
    raise DataError(
        f"{table.source}: which column is the prompt and which the answer? It has {', '.join(columns)}; give 'prompt', "
        "a template such as 'Question: {question}\\nAnswer:', and 'target', or 'turns' for a column of conversations"
    )


def columns_of(table: Table) -> tuple[str, ...]:
    """Names of the columns that any of the first rows has, in order."""
    return tuple(dict.fromkeys(name for row in table.rows[:SAMPLE] for name in row))


def _of_turns(table: Table, columns: Sequence[str]) -> Layout | None:
    known = {name.lower(): name for name in columns}
    if "prompt" in known and "completion" in known and is_conversation(table, known["prompt"]):
        return turns_layout(known["prompt"], known["completion"])
    named = [known[name] for name in TURN_COLUMNS if name in known]
    others = [name for name in columns if name.lower() not in ("chosen", "rejected", *TURN_COLUMNS)]
    found = next((name for name in [*named, *others] if is_conversation(table, name)), None)
    return None if found is None or _holds_preferences(columns) else turns_layout(found)


def _of_preferences(table: Table, columns: Sequence[str]) -> Layout | None:
    if not _holds_preferences(columns):
        return None
    known = {name.lower(): name for name in columns}
    chosen, prompt = known["chosen"], known.get("prompt")
    name = "preference pairs, of which the chosen answer is learned and the rejected one left"
    if is_conversation(table, chosen):
        is_whole = any(_turns(table, i, chosen)[0].role != "assistant" for i in _sample(table))
        if is_whole or prompt is None:
            return turns_layout(chosen, name=name)
        if is_conversation(table, prompt):
            return turns_layout(prompt, chosen, name=name)
        return _after_a_prompt(prompt, chosen, name)
    if prompt is not None:
        template = f"{{{prompt}}}"
        written = written_layout(template, chosen)
        return Layout(name=name, columns=written.columns, text=written.text, prompt=template, target=chosen)

    def text(table: Table, index: int) -> Text:
        return _conversation(_held_turns(table.text(index, chosen), table.where(index, chosen)))

    return Layout(name=name, columns=(chosen,), text=text, turns=chosen)


def _after_a_prompt(prompt: str, chosen: str, name: str) -> Layout:
    def text(table: Table, index: int) -> Text:
        return _conversation([Turn("user", table.text(index, prompt)), *_turns(table, index, chosen)])

    return Layout(name=name, columns=(prompt, chosen), text=text)


def _of_alpaca(table: Table, columns: Sequence[str]) -> Layout | None:
    known = {name.lower(): name for name in columns}
    answer = next((known[name] for name in ALPACA_ANSWERS if name in known), None)
    if "instruction" not in known or answer is None:
        return None
    instruction, more = known["instruction"], known.get("input") or known.get("context")
    return _joined((instruction,) if more is None else (instruction, more), answer)


def _joined(columns: tuple[str, ...], answer: str) -> Layout:
    """Columns under one another, blank ones left out."""

    def text(table: Table, index: int) -> Text:
        cells = [cell for name in columns if (cell := table.cell(index, name)) is not None]
        return Text(prompt="\n\n".join(cells) + "\n\n", target=table.cell(index, answer))

    told = " and ".join(map(repr, columns))
    return Layout(
        name=f"instructions: prompt {told}, answer {answer!r}",
        columns=(*columns, answer),
        text=text,
        prompt="\n\n".join(f"{{{name}}}" for name in columns) + "\n\n",
        target=answer,
    )


def _of_pairs(table: Table, columns: Sequence[str]) -> Layout | None:
    known = {name.lower(): name for name in columns}
    for first, second in PAIRS:
        if first in known and second in known:
            prompt, target = known[first], known[second]
            if "context" in known and first == "question":
                template = f"{{{known['context']}}}\n\nQuestion: {{{prompt}}}\nAnswer:"
            elif first in ("question", "query", "problem"):
                template = f"Question: {{{prompt}}}\nAnswer:"
            else:
                template = f"{{{prompt}}}"
            return written_layout(template, target)
    if "question" in known and "answers" in known:  # as SQuAD has them
        first_answer = next((value_at(row, "answers.text[0]") for row in table.rows[:SAMPLE]), None)
        if first_answer is not None:
            context = f"{{{known['context']}}}\n\n" if "context" in known else ""
            return written_layout(f"{context}Question: {{{known['question']}}}\nAnswer:", "answers.text[0]")
    return None


def _of_labels(table: Table, columns: Sequence[str]) -> Layout | None:
    known = {name.lower(): name for name in columns}
    text = next((known[name] for name in INPUTS if name in known), None)
    label = next((known[name] for name in LABELS if name in known and known[name] != text), None)
    others = [name for name in columns if name != text and name.lower() not in NUMBERS]
    if text is not None and label is None and len(others) == 1:
        label = others[0]
    if text is None or label is None:
        return None
    return written_layout(f"{{{text}}}\n{label.replace('_', ' ').capitalize()}:", label)


def _of_two(table: Table, columns: Sequence[str]) -> Layout | None:
    """Two columns of any names, numbers of rows aside: the first asks and the second answers."""
    named = [name for name in columns if name.lower() not in NUMBERS]
    if len(named) != 2:
        return None
    return written_layout(f"{{{named[0]}}}\n{named[1].replace('_', ' ').capitalize()}:", named[1])


def _of_plain_text(table: Table, columns: Sequence[str]) -> Layout | None:
    known = {name.lower(): name for name in columns}
    name = next((known[each] for each in INPUTS if each in known), columns[0] if len(columns) == 1 else None)
    if name is None:
        return None
    layout = written_layout("", name)
    return Layout(
        name=f"plain text in {name!r}",
        columns=layout.columns,
        text=layout.text,
        prompt="",
        target=name,
        is_plain_text=True,
    )


def _holds_preferences(columns: Sequence[str]) -> bool:
    return {"chosen", "rejected"} <= {name.lower() for name in columns}


def _sample(table: Table) -> range:
    return range(min(SAMPLE, len(table.rows)))


def is_conversation(table: Table, column: str) -> bool:
    """Whether a column, or a path, holds conversations."""
    cells = [value for index in _sample(table) if (value := value_at(table.rows[index], column))]
    return bool(cells) and all(map(holds_turns, cells))


def _turns(table: Table, index: int, column: str) -> tuple[Turn, ...]:
    return turns_of(value_at(table.rows[index], column), table.where(index, column))


def _conversation(turns: Sequence[Turn]) -> Text:
    """Turns up to the last answer; without a target where there is none."""
    last = max((i for i, turn in enumerate(turns) if turn.role == "assistant"), default=None)
    if last is None or not turns[last].content.strip():
        return Text(prompt=plain_text(turns), target=None)
    kept = tuple(turns[: last + 1])
    left_out = len(turns) - len(kept)
    return Text(prompt=plain_text(kept[:-1]), target=kept[-1].content, turns=kept, num_left_out=left_out)


def _held_turns(text: str, where: str) -> list[Turn]:
    """The turns of a text in the form of Anthropic's hh-rlhf: ``Human:`` and ``Assistant:`` after blank lines."""
    parts = _HELD.split(text)
    if len(parts) < 3:
        raise DataError(f"{where}: no conversation; its turns have to begin with 'Human:' and 'Assistant:'")
    spoken: Mapping[str, Any] = {"Human": "user", "Assistant": "assistant"}
    return [Turn(spoken[who], said.strip()) for who, said in zip(parts[1::2], parts[2::2])]
