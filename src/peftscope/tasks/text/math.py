"""Word problems with worked answers, scored by the share solved.

Sources: MetaMathQA for training with GSM8K for validation and test (the public benchmark's data), local files
in GSM8K's form, or problems made by reasoning-gym.

MetaMathQA rephrases GSM8K's training problems (Yu et al. 2023, https://arxiv.org/abs/2309.12284), and
validation is a part of these: training rows made from a validation problem are dropped. With ``upstream``
they stay, as in the public benchmark, and a warning says how many.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

from peftscope.errors import DataError
from peftscope.schema.metric import MetricSpec
from peftscope.tasks.base import Retention, Split, TaskContext
from peftscope.tasks.splits import same_key
from peftscope.tasks.text.answers import extract_solution, extract_text, is_correct, parse_number
from peftscope.tasks.text.cached_splits import CachedSplits, read_splits
from peftscope.tasks.text.examples import SPLITS, Prepared, TextExample
from peftscope.tasks.text.groups import HELD_OUT, grouped
from peftscope.tasks.text.language import LanguageTask
from peftscope.tasks.text.math_sources import Problem, read_problems
from peftscope.tasks.text.options import MathOptions
from peftscope.tasks.text.places import named_files
from peftscope.tasks.text.procedural import Check, read_checks, write_checks
from peftscope.tasks.text.template import fill_template

__all__ = ["MathTask", "strip_calculator_marks"]


class MathTask(LanguageTask):
    """Word problems with worked answers."""

    name: ClassVar[str] = "math"
    version: ClassVar[int] = 2

    def __init__(self, options: MathOptions, context: TaskContext, kept: CachedSplits | None = None) -> None:
        self._which = options.answer
        self.form = "" if options.upstream else options.query_template
        if kept is None:
            prepared, self._checks = _prepared(options)
            super().__init__(options, context, prepared)
        else:
            self._checks = read_checks(kept.folder, options)
            super().__init__(options, context, kept)

    def sources(self) -> Sequence[Path]:
        """The files that were named."""
        return named_files(self.options)

    def save_cache(self, folder: Path, retention: Retention | None = None) -> None:
        """Write the splits and the sources' own checks; nothing where a check cannot be kept."""
        if write_checks(folder, self._checks):
            self.cache_splits(folder, retention)

    @classmethod
    def from_cache(cls, options: MathOptions, context: TaskContext, folder: Path) -> Self:
        """The task with its splits and checks as they were kept."""
        return cls(options, context, read_splits(folder))

    def resplit(self, seed: int) -> None:
        """Cut training and validation problems anew, where all of them can be graded."""
        if self._checks or not all(example.solution for example in self._examples["train"]):
            raise DataError("task math: not every training problem can be graded; set vary_split: false")
        super().resplit(seed)

    @cached_property
    def _first_stated_decides(self) -> bool:  # type: ignore[override]
        """Where every solution is a number, and neither a text nor the source's own check looks at all of an answer."""
        solutions = (example.solution for split in HELD_OUT for example in self._examples[split])
        return self._which == "first" and not self._checks and all(parse_number(s) is not None for s in solutions)

    @property
    def metric(self) -> MetricSpec:
        """Share of the problems solved."""
        return MetricSpec(name="accuracy", unit="share", direction="higher", window="all problems of the split")

    def grade(self, example: TextExample, output: str) -> float:
        """1 if the answer gives the solution, or satisfies the source's own check where that is a text."""
        if is_correct(output, example.solution, self._which):
            return 1.0
        accepts = self._checks.get(example.example_id)
        if accepts is None:
            return 0.0
        answer = extract_text(output, self._which)
        return float(accepts(output.strip()) or (answer is not None and accepts(answer)))


def strip_calculator_marks(text: str) -> str:
    """A worked answer without GSM8K's calculator marks.

    >>> strip_calculator_marks("48/2 = <<48/2=24>>24 clips")
    '48/2 = 24 clips'
    """
    return re.sub(r"<<[^<>]*>>", "", text)


def _prepared(options: MathOptions) -> tuple[Prepared, dict[str, Check]]:
    """The examples, and the checks of those held out whose solution is a text: a number needs none."""
    problems = read_problems(options)
    splits: dict[Split, Sequence[TextExample]] = {}
    checks: dict[str, Check] = {}
    for split in SPLITS:
        examples = [_example(p, options, split) for p in problems.splits[split]]
        splits[split] = examples
        if split != "train":
            for problem, example in zip(problems.splits[split], examples):
                if problem.check is not None and parse_number(example.solution) is None:
                    checks[problem.problem_id] = problem.check
    return grouped(Prepared(splits=splits, notes=tuple(problems.notes))), checks


def _example(problem: Problem, options: MathOptions, split: Split) -> TextExample:
    response = strip_calculator_marks(problem.response) if options.strip_calculator else problem.response
    solution = problem.solution or extract_solution(response)
    if solution is None and split != "train":
        raise DataError(
            f"{problem.problem_id}: no solution in the worked answer {response[-60:]!r}; end it in '#### N'"
        )
    return TextExample(
        example_id=problem.problem_id,
        prompt=fill_template(options.query_template, {"query": problem.query}),
        target=response,
        solution=solution or "",
        group=None if problem.original is None else same_key(problem.original),
    )
