"""Where word problems come from: the hub, local files, reasoning-gym, or stories made on the spot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from peftscope.errors import DataError
from peftscope.tasks.base import Split
from peftscope.tasks.splits import default_part, same_key, sample, seeded_split
from peftscope.tasks.text.answers import is_correct
from peftscope.tasks.text.options import ColumnMap, MathOptions
from peftscope.tasks.text.procedural import DRY_DRAWS, Check, ProblemSource
from peftscope.tasks.text.rows import Table, read_file, read_hub
from peftscope.tasks.text.stories import draw_stories

__all__ = ["Problem", "Problems", "read_problems"]

UPSTREAM_VALID_SIZE = 50
METAMATH_COLUMNS = ColumnMap(query="query", response="response", original="original_question")
GSM8K_COLUMNS = ColumnMap(query="question", response="answer")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A word problem with a worked answer."""

    problem_id: str
    query: str
    response: str
    original: str | None = None
    """The question it was made from."""
    solution: str | None = None
    """The solution where it stands apart from the worked answer."""
    check: Check | None = field(default=None, repr=False)
    """The source's own check, for problems with more than one right answer."""

    @property
    def keys(self) -> set[str]:
        """What tells that another problem is this one or was made from the same."""
        return {same_key(text) for text in (self.query, self.original) if text is not None}


@dataclass(kw_only=True)
class Problems:
    """Problems in splits, and what a user should know about how they were made."""

    splits: dict[Split, list[Problem]]
    notes: list[str] = field(default_factory=list)


def read_problems(options: MathOptions) -> Problems:
    """Problems of all splits, in which none of training was made from one of validation or test.

    Raises:
        DataError: Data is missing, unreadable or empty.
    """
    if options.source == "procedural":
        return _generated(options)
    if options.source == "stories":
        return _told(options)
    problems = _from_hub(options) if options.source == "hub" else _from_files(options)
    _keep_apart(problems, options)
    train = problems.splits["train"]
    if options.max_chars is not None:
        short = [p for p in train if _is_short(p, options)]
        if len(short) < len(train):
            problems.notes.append(
                f"{len(train) - len(short)} of {len(train)} training rows have more than {options.max_chars} "
                "characters and were dropped"
            )
        train = short
    problems.splits["train"] = [train[i] for i in sample(len(train), options.train_size, options.split_seed)]
    return problems


def _from_hub(options: MathOptions) -> Problems:
    train = _problems_of(read_hub(options.train_dataset, split="train"), METAMATH_COLUMNS)
    held_out = _problems_of(read_hub(options.eval_dataset, config=options.eval_config, split="train"), GSM8K_COLUMNS)
    test = _problems_of(read_hub(options.eval_dataset, config=options.eval_config, split="test"), GSM8K_COLUMNS)
    size = _valid_size(options, len(held_out))
    valid = [held_out[i] for i in sample(len(held_out), size, options.split_seed)]
    test = [test[i] for i in sample(len(test), options.test_size, options.split_seed)]
    return Problems(splits={"train": train, "valid": valid, "test": test})


def _from_files(options: MathOptions) -> Problems:
    assert options.train is not None, "the options see to it"
    rest = _problems_of(read_file(options.train), options.columns)
    given: dict[Split, list[Problem]] = {}
    places: tuple[tuple[Split, str | None, int | None], ...] = (
        ("valid", options.valid, options.valid_size),
        ("test", options.test, options.test_size),
    )
    for split, path, size in places:
        if path is not None:
            found = _problems_of(read_file(path), options.columns)
            given[split] = [found[i] for i in sample(len(found), size, options.split_seed)]
    wanted: dict[Split, int] = {}
    if "test" not in given:
        wanted["test"] = options.test_size or default_part(len(rest))
    if "valid" not in given:
        wanted["valid"] = _valid_size(options, len(rest))
    # Rows made from one question stay together, so that a split has no relatives of another.
    parts, kept = seeded_split(
        [same_key(p.original or p.query) for p in rest], list(wanted.values()), options.split_seed
    )
    for split, part in zip(wanted, parts):
        given[split] = [rest[i] for i in part]
    return Problems(splits={"train": [rest[i] for i in kept], **given})


def _valid_size(options: MathOptions, num_rows: int) -> int:
    if options.valid_size is not None:
        return options.valid_size
    return UPSTREAM_VALID_SIZE if options.upstream else default_part(num_rows)


def _keep_apart(problems: Problems, options: MathOptions) -> None:
    """Drop training problems made from validation or test problems, or say that they stay."""
    train = problems.splits["train"]
    for split in ("valid", "test"):
        seen = {key for problem in problems.splits[split] for key in problem.keys}
        related = [p for p in train if not seen.isdisjoint(p.keys)]
        if not related:
            continue
        word = {"valid": "validation", "test": "test"}[split]
        if options.upstream:
            problems.notes.append(
                f"upstream: {len(related)} of {len(train)} training rows were made from {word} problems "
                f"and stay; the {word} score is too high"
            )
        else:
            problems.notes.append(
                f"{len(related)} of {len(train)} training rows were made from {word} problems and were dropped"
            )
            train = [p for p in train if seen.isdisjoint(p.keys)]
    problems.splits["train"] = train
    tested = {key for problem in problems.splits["test"] for key in problem.keys}
    if shared := sum(not tested.isdisjoint(p.keys) for p in problems.splits["valid"]):
        problems.notes.append(f"{shared} validation problems stand in the test split too")


def _is_short(problem: Problem, options: MathOptions) -> bool:
    limit = options.max_chars
    return limit is None or len(problem.query) + len(problem.response) <= limit


def _problems_of(table: Table, columns: ColumnMap) -> list[Problem]:
    table.require([c for c in (columns.query, columns.response, columns.original) if c is not None])
    return [
        Problem(
            problem_id=f"{table.label}:{i}",
            query=table.text(i, columns.query),
            response=table.text(i, columns.response),
            original=None if columns.original is None else table.text(i, columns.original),
        )
        for i in range(len(table.rows))
    ]


def _generated(options: MathOptions) -> Problems:
    """Problems of a reasoning-gym data set."""
    source = ProblemSource(options)
    drawn = (_problem_of_entry(source, number, entry, options) for number, entry in enumerate(source.data))
    advice = "ask for fewer, or widen dataset_options or max_chars"
    return _dealt(drawn, source.sizes, options, f"reasoning-gym {options.dataset}", advice)


def _told(options: MathOptions) -> Problems:
    """Problems of ``draw_stories``, whose seed is the split's."""
    drawn = (
        Problem(problem_id=f"stories:{n}", query=story.question, response=story.answer, solution=str(story.solution))
        for n, story in enumerate(draw_stories(options.split_seed))
    )
    return _dealt(drawn, ProblemSource(options).sizes, options, "stories", "ask for fewer, or widen max_chars")


def _dealt(
    drawn: Iterable[Problem | None], sizes: dict[Split, int], options: MathOptions, label: str, advice: str
) -> Problems:
    """Drawn problems in splits, all with different questions; test first, so that another number of training
    rows leaves it as it is. None stands for a draw without a usable answer.
    """
    total = sum(sizes.values())
    unique: dict[str, Problem] = {}
    num_wrong = num_seen = last_found = 0
    for problem in drawn:
        num_seen += 1
        if problem is None:
            num_wrong += 1
        elif _is_short(problem, options) and (key := same_key(problem.query)) not in unique:
            unique[key] = problem
            last_found = num_seen
        if len(unique) == total or num_seen - last_found >= DRY_DRAWS:
            break
    if len(unique) < total:
        raise DataError(
            f"{label}: {total} problems are needed ({sizes}), but {num_seen} draws gave only {len(unique)} "
            f"different ones that fit; {advice}"
        )
    notes = [f"{num_wrong} problems without a usable answer were left out"] if num_wrong else []
    made = iter(unique.values())
    splits: dict[Split, list[Problem]] = {}
    for split in ("test", "valid", "train"):
        splits[split] = [next(made) for _ in range(sizes[split])]
    return Problems(splits=splits, notes=notes)


def _problem_of_entry(
    source: ProblemSource, number: int, entry: dict[str, Any], options: MathOptions
) -> Problem | None:
    """A problem from an entry; None without an answer as a text, or with a worked one that ends elsewhere."""
    solution = entry["answer"]
    if not isinstance(solution, str) or not solution.strip():
        return None
    worked = entry["metadata"].get("answer_cot") if options.chain_of_thought else None
    if worked is not None and not is_correct(worked, solution):
        return None
    return Problem(
        problem_id=f"{options.dataset}:{number}",
        query=entry["question"],
        response=worked or solution,
        solution=solution,
        check=Check(source, entry),
    )
