"""The user's rows as examples: read, laid out, and checked for what cannot be learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from peftscope.errors import DataError
from peftscope.tasks.text.answers import extract_number
from peftscope.tasks.text.code_runs import ANSWER
from peftscope.tasks.text.examples import TextExample
from peftscope.tasks.text.findings import look_at
from peftscope.tasks.text.layouts import (
    Layout,
    Text,
    Texts,
    is_conversation,
    recognise,
    turns_layout,
    with_system,
    written_layout,
)
from peftscope.tasks.text.options import OwnDataOptions
from peftscope.tasks.text.paths import value_at
from peftscope.tasks.text.rows import Table, listed_rows, read_file, read_hub
from peftscope.tasks.text.template import fill_template, template_fields
from peftscope.tasks.text.turns import plain_text

__all__ = ["each_answer", "layout_of", "read_examples"]


def read_examples(options: OwnDataOptions, place: str) -> tuple[list[TextExample], list[str]]:
    """The examples of a file or of a split of a data set, and what was guessed or left out.

    Raises:
        DataError: It cannot be read, a column is missing, a target is empty, or has no number where one is compared.
    """
    if options.dataset is None:
        table = read_file(place)
    else:
        table = read_hub(options.dataset, split=place, config=options.config, revision=options.revision)
    return examples_of(table, options)


def examples_of(table: Table, options: OwnDataOptions) -> tuple[list[TextExample], list[str]]:
    """One example per row that has a target, and what was guessed or left out."""
    layout = layout_of(table, options)
    table.require([*layout.columns, *([] if options.group is None else [options.group])])
    notes = list(table.notes)
    if options.prompt is None and options.turns is None:
        notes.append(f"{table.source}: read as {layout.name}")
    if layout.is_plain_text and options.metric != "loss":
        raise DataError(f"{table.source}: {layout.name}: no answers to score; set metric: loss")
    rows = list(Texts(table, layout))
    notes += look_at(rows, is_plain_text=layout.is_plain_text).lines(table.source)
    missing = [index for index, row in enumerate(rows) if row.target is None]
    if missing:
        notes += _without_target(table, layout, missing, options)
    examples = [_example(table, i, row, row.target, options) for i, row in enumerate(rows) if row.target is not None]
    return examples, notes


def layout_of(table: Table, options: OwnDataOptions) -> Layout:
    """How a table's rows are laid out: as the options say, else as its columns tell.

    Raises:
        DataError: Neither does.
    """
    layout = _told_layout(table, options) or recognise(table)
    return layout if options.system_column is None else with_system(layout, options.system_column)


def _told_layout(table: Table, options: OwnDataOptions) -> Layout | None:
    if options.turns is not None:
        return turns_layout(options.turns)
    if options.prompt is None or options.target is None:
        return None
    fields = template_fields(options.prompt)
    if is_conversation(table, options.target) and set(fields) <= {options.target}:
        return turns_layout(options.target)
    if options.target in fields:
        raise DataError(
            f"{table.source}: the prompt holds the target column {{{options.target}}}: the question would give the "
            "answer"
        )
    return written_layout(options.prompt, options.target)


def each_answer(examples: Sequence[TextExample]) -> list[TextExample]:
    """An example for every answer of a conversation, of one group; others as they are."""
    found = []
    for example in examples:
        at = [i for i, turn in enumerate(example.turns) if turn.role == "assistant"]
        if len(at) < 2:
            found.append(example)
            continue
        for number, index in enumerate(at, start=1):
            content = example.turns[index].content
            found.append(
                replace(
                    example,
                    example_id=f"{example.example_id}.{number}",
                    prompt=plain_text(example.turns[:index]),
                    target=content,
                    solution=content,
                    group=example.group or example.example_id,
                    turns=example.turns[: index + 1],
                )
            )
    return found


def _without_target(table: Table, layout: Layout, missing: list[int], options: OwnDataOptions) -> list[str]:
    what = f"column {layout.target!r} is empty" if layout.target is not None else "there is no answer"
    if options.empty_targets == "refuse":
        raise DataError(
            f"{table.source}: {what} in {len(missing)} of {len(table.rows)} rows ({listed_rows(missing)}); fill them, "
            "take out the rows, or set empty_targets: drop"
        )
    if len(missing) == len(table.rows):
        raise DataError(f"{table.source}: {what} in every row")
    return [f"{table.source}: {len(missing)} rows without a target were dropped ({listed_rows(missing)})"]


def _example(table: Table, index: int, row: Text, target: str, options: OwnDataOptions) -> TextExample:
    if options.metric == "numeric" and extract_number(target, options.answer) is None:
        raise DataError(
            f"{table.source}: row {index + 1}: the answer has no number, which metric 'numeric' compares: "
            f"{target[:60]!r}"
        )
    return TextExample(
        example_id=f"{table.label}:{index}",
        prompt=row.prompt,
        target=target,
        solution=target if options.program is None else _program(table, index, options.program),
        group=None if options.group is None else table.text(index, options.group),
        turns=row.turns,
    )


def _program(table: Table, index: int, template: str) -> str:
    """What is run to score an answer, with the place of the answer left open."""
    columns = [name for name in template_fields(template) if name != "answer"]
    table.require(columns)
    return fill_template(template, {name: _lines(table, index, name) for name in columns} | {"answer": ANSWER})


def _lines(table: Table, index: int, column: str) -> str:
    """A cell as code; a list of statements a line each."""
    value = value_at(table.rows[index], column)
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return table.text(index, column)
