"""Scores of a text against a target, from 0 to 1. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from peftscope.errors import MissingExtra
from peftscope.tasks.text.answers import Which, extract_number

__all__ = [
    "contains",
    "cut_at",
    "exact_match",
    "next_prompt_of",
    "normalised",
    "numeric",
    "regex_match",
    "rouge_l_scorer",
]


FEWEST_LETTERS = 2
"""Letters that a beginning needs to be told from what any answer may hold."""


def normalised(text: str, *, ignore_case: bool) -> str:
    """The text with runs of white space made one space, and in one case if asked for.

    >>> normalised("  Two\\n words ", ignore_case=True)
    'two words'
    """
    text = " ".join(text.split())
    return text.casefold() if ignore_case else text


def cut_at(text: str, stops: tuple[str, ...]) -> str:
    """The text up to the first of the stops. White space it begins with is not searched.

    >>> cut_at(" yes\\nQuestion: and", ("\\n",))
    'yes'
    """
    text = text.lstrip()
    return text[: min((at for stop in stops if stop and (at := text.find(stop)) >= 0), default=len(text))]


def next_prompt_of(template: str) -> tuple[str, ...]:
    """What a model that goes on with the next prompt would write: a new line that begins as the template does.

    >>> next_prompt_of("Question: {query}\\nAnswer:"), next_prompt_of("{text}\\nTeam:")
    (('\\nQuestion:',), ())
    """
    start = template.partition("{")[0].strip().partition("\n")[0]
    return (f"\n{start}",) if sum(map(str.isalnum, start)) >= FEWEST_LETTERS else ()


def exact_match(output: str, target: str, *, ignore_case: bool) -> float:
    """1 if both are the same text, white space aside."""
    return float(normalised(output, ignore_case=ignore_case) == normalised(target, ignore_case=ignore_case))


def contains(output: str, target: str, *, ignore_case: bool) -> float:
    """1 if the target stands somewhere in the output, white space aside."""
    return float(normalised(target, ignore_case=ignore_case) in normalised(output, ignore_case=ignore_case))


def numeric(output: str, target: str, *, which: Which) -> float:
    """1 if both give the same number as their answer.

    >>> numeric("It costs $2,125.00 in all.", "2125", which="last")
    1.0
    """
    expected = extract_number(target, which)
    return float(expected is not None and extract_number(output, which) == expected)


def regex_match(output: str, target: str, *, pattern: re.Pattern[str], which: Which, ignore_case: bool) -> float:
    """1 if what the pattern captures in the output is what it captures in the target.

    The first group is what is captured, or all of the match in a pattern without groups. A target in which
    the pattern does not occur is taken whole.
    """
    found, wanted = _captured(pattern, output, which), _captured(pattern, target, which)
    return 0.0 if found is None else exact_match(found, target if wanted is None else wanted, ignore_case=ignore_case)


def rouge_l_scorer() -> Callable[[str, str], float]:
    """ROUGE-L (F-measure, no stemming) of an output against a target: Lin 2004, longest common subsequence.

    Raises:
        MissingExtra: ``rouge_score`` is not installed.
    """
    try:
        from rouge_score import rouge_scorer
    except ImportError:
        raise MissingExtra("rouge_score", "rouge", "the metric rouge_l") from None
    scorer: Any = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    return lambda output, target: float(scorer.score(target, output)["rougeL"].fmeasure)


def _captured(pattern: re.Pattern[str], text: str, which: Which) -> str | None:
    matches = list(pattern.finditer(text))
    if not matches:
        return None
    match = matches[0 if which == "first" else -1]
    return match[1] if pattern.groups else match[0]
