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
from typing import ClassVar

from peftscope.errors import DataError
from peftscope.spec.metric import MetricSpec
from peftscope.tasks.answers import extract_solution, extract_text, is_correct, parse_number
from peftscope.tasks.base import Split, TaskContext
from peftscope.tasks.language import SPLITS, LanguageTask, Prepared, TextExample
from peftscope.tasks.math_sources import Problem, read_problems
from peftscope.tasks.options import MathOptions
from peftscope.tasks.template import fill_template

__all__ = ["MathTask", "strip_calculator_marks"]


class MathTask(LanguageTask):
    """Word problems with worked answers."""

    name: ClassVar[str] = "math"
    version: ClassVar[int] = 1

    def __init__(self, options: MathOptions, context: TaskContext) -> None:
        problems = read_problems(options)
        self._problems: dict[str, Problem] = {}
        splits: dict[Split, Sequence[TextExample]] = {}
        for split in SPLITS:
            splits[split] = [_example(p, options, split) for p in problems.splits[split]]
            if split != "train":
                self._problems.update((p.problem_id, p) for p in problems.splits[split])
        self._which = options.answer
        super().__init__(options, context, Prepared(splits=splits, notes=tuple(problems.notes)))

    @property
    def metric(self) -> MetricSpec:
        """Share of the problems solved."""
        return MetricSpec(name="accuracy", unit="share", direction="higher", window="all problems of the split")

    def grade(self, example: TextExample, output: str) -> float:
        """1 if the answer gives the solution, or satisfies the source's own check where that is a text."""
        if is_correct(output, example.solution, self._which):
            return 1.0
        verify = self._problems[example.example_id].verify
        if verify is None or parse_number(example.solution) is not None:
            return 0.0
        answer = extract_text(output, self._which)
        return float(verify(output.strip()) or (answer is not None and verify(answer)))


def strip_calculator_marks(text: str) -> str:
    """A worked answer without GSM8K's calculator marks.

    >>> strip_calculator_marks("48/2 = <<48/2=24>>24 clips")
    '48/2 = 24 clips'
    """
    return re.sub(r"<<[^<>]*>>", "", text)


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
    )
