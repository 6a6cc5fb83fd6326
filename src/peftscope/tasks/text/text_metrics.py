"""Scores of a text against a target, from 0 to 1. Pure functions."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Any

import regex

from peftscope.errors import DataError, MissingExtra
from peftscope.tasks.text.answers import Which, extract_number

__all__ = [
    "contains",
    "cut_at",
    "exact_match",
    "json_fields",
    "next_prompt_of",
    "normalised",
    "normalized_match",
    "numeric",
    "regex_match",
    "rouge_l_scorer",
    "sacrebleu_scorer",
    "token_f1",
]


_NOTHING = object()
PATTERN_SECONDS = 2.0
"""Most time that a pattern may take on one answer."""
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


def normalized_match(output: str, target: str) -> float:
    """1 if both are the same words, signs and articles left out.

    >>> normalized_match("The Eiffel-Tower!", "eiffel tower")
    1.0
    """
    return float(_words(output) == _words(target))


def token_f1(output: str, target: str) -> float:
    """F1 of the words of both, signs and articles left out: Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250.

    >>> token_f1("in the old town", "the town")
    0.5
    """
    given, wanted = Counter(_words(output)), Counter(_words(target))
    if not given or not wanted:
        return float(given == wanted)
    common = sum((given & wanted).values())
    total = sum(given.values()) + sum(wanted.values())
    return 2.0 * common / total


def json_fields(output: str, target: str) -> float:
    """Share of the target's fields that the output has right; 0 where it holds no JSON, or more fields than that.

    Fields are told by their paths; numbers are equal by value, texts but for white space around them. The output may
    stand in a fence or between other text.

    >>> json_fields('Sure: {"a": 1.0, "b": {"c": "x"}}', '{"a": 1, "b": {"c": "y"}}')
    0.5
    """
    wanted, given = _fields(_json_in(target)), _fields(_json_in(output))
    if wanted is None:
        return normalized_match(output, target)
    if given is None:
        return 0.0
    right = sum(1 for path, value in wanted.items() if path in given and given[path] == value)
    return right / max(len(wanted), len(given), 1)


def numeric(output: str, target: str, *, which: Which) -> float:
    """1 if both give the same number as their answer.

    >>> numeric("It costs $2,125.00 in all.", "2125", which="last")
    1.0
    """
    expected = extract_number(target, which)
    return float(expected is not None and extract_number(output, which) == expected)


def regex_match(output: str, target: str, *, pattern: regex.Pattern[str], which: Which, ignore_case: bool) -> float:
    """1 if what the pattern captures in the output is what it captures in the target.

    The first group is what is captured, or all of the match in a pattern without groups. A target in which
    the pattern does not occur is taken whole.

    Raises:
        DataError: The pattern does not come to an end in time.
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


def sacrebleu_scorer(name: str) -> Callable[[str, str], float]:
    """chrF (Popović 2015) or sentence BLEU (Papineni et al. 2002, smoothed) of an output against a target, from 0 to 1.

    Raises:
        MissingExtra: ``sacrebleu`` is not installed.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise MissingExtra("sacrebleu", "translation", f"the metric {name}") from None
    scorer: Any = CHRF() if name == "chrf" else BLEU(effective_order=True)
    return lambda output, target: float(scorer.sentence_score(output, [target]).score) / 100.0


def _words(text: str) -> list[str]:
    """Words in one case and form, without signs and English articles."""
    plain = re.sub(r"[^\w\s]|_", " ", unicodedata.normalize("NFKC", text).casefold())
    return [word for word in plain.split() if word not in ("a", "an", "the")]


def _json_in(text: str) -> Any:
    """The first JSON object or list in a text; ``_NOTHING`` where there is none."""
    decoder = json.JSONDecoder()
    for match in re.finditer(r"[{\[]", text):
        try:
            return decoder.raw_decode(text, match.start())[0]
        except ValueError:
            continue
    return _NOTHING


def _fields(value: Any, path: str = "") -> dict[str, Any] | None:
    """Leaves by their paths; None of no JSON."""
    if value is _NOTHING:
        return None
    if isinstance(value, dict):
        parts = [(f"{path}.{key}", inner) for key, inner in value.items()]
    elif isinstance(value, list):
        parts = [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]
    else:
        return {path: value.strip() if isinstance(value, str) else value}
    if not parts:
        return {path: type(value).__name__}
    return {name: leaf for place, inner in parts for name, leaf in (_fields(inner, place) or {}).items()}


def _captured(pattern: regex.Pattern[str], text: str, which: Which) -> str | None:
    try:
        matches = list(pattern.finditer(text, timeout=PATTERN_SECONDS))
    except TimeoutError:
        raise DataError(
            f"pattern {pattern.pattern!r}: takes over {PATTERN_SECONDS:g} s on one answer ({text[:60]!r}); write "
            "it without a repetition inside of a repetition"
        ) from None
    if not matches:
        return None
    match = matches[0 if which == "first" else -1]
    found: str = match[1] if pattern.groups else match[0]
    return found
