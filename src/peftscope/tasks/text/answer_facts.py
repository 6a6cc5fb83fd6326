"""What answers tell beside their scores: whether they were given away, run on, or could be had without learning."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from peftscope.tasks.base import ExampleScore
from peftscope.tasks.text.examples import TextExample
from peftscope.tasks.text.text_metrics import cut_at

__all__ = ["commonest_solution", "run_on_share", "target_in_prompt_share"]

MOST_COUNTED = 20_000
"""Training rows of which the commonest answer is counted."""


def commonest_solution(examples: Sequence[TextExample]) -> str | None:
    """The answer that most training rows have; None where no two have the same."""
    ((solution, count),) = Counter(example.solution for example in islice(examples, MOST_COUNTED)).most_common(1)
    return solution if count > 1 else None


def target_in_prompt_share(examples: Sequence[TextExample]) -> float:
    """Share of the examples whose target stands in the prompt, as words of its own."""
    found = (re.search(rf"(?<!\w){re.escape(e.solution.strip())}(?!\w)", e.prompt, re.IGNORECASE) for e in examples)
    return sum(match is not None for match in found) / len(examples)


def run_on_share(outcomes: Sequence[ExampleScore], next_prompt: tuple[str, ...]) -> float:
    """Share of the outputs that go on with what a next prompt would begin with."""
    outputs = [outcome.output for outcome in outcomes if outcome.output is not None]
    return sum(cut_at(output, next_prompt) != output.lstrip() for output in outputs) / max(1, len(outputs))
