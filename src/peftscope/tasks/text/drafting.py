"""How rows would best be learned and scored: metric, lengths, and the reasons, from a look at them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from peftscope.tasks.splits import sample
from peftscope.tasks.text.answers import extract_number, extract_solution
from peftscope.tasks.text.chat_template import chat_template_for
from peftscope.tasks.text.findings import Seen
from peftscope.tasks.text.layouts import Layout, Text

__all__ = ["DraftedTask", "draft_task"]

MEASURED = 2000
"""Rows whose tokens are counted."""
NEARLY_ALL = 0.95
SHORT_ANSWER = 6
"""Words in a median answer up to which it can be matched as a whole."""
IMBALANCED = 0.6
ROUND_TO = 32
MOST_NEW_TOKENS, MOST_LENGTH = 512, 2048
TEMPLATE_TOKENS = 40
"""Room for what a chat template adds."""


@dataclass(frozen=True, kw_only=True)
class DraftedTask:
    """Options of the task, and why."""

    options: Mapping[str, Any]
    comments: Mapping[str, str]
    """By option, what to say beside it in a file."""
    reasons: tuple[str, ...]
    oddities: tuple[str, ...]


def draft_task(texts: Sequence[Text], layout: Layout, seen: Seen, tokenizer: Any) -> DraftedTask:
    """The task's options for a table.

    Args:
        texts: The training rows.
        layout: Theirs.
        seen: What a look at them found.
        tokenizer: The base model's.
    """
    rows = [texts[index] for index in sample(len(texts), MEASURED, 0)]
    rows = [row for row in rows if row.target is not None]
    template = chat_template_for("auto", tokenizer, has_turns=any(row.turns for row in rows))
    extra = TEMPLATE_TOKENS if template is not None else 2
    prompts = _lengths(tokenizer, [row.prompt for row in rows])
    answers = _lengths(tokenizer, [row.target or "" for row in rows]) + 1
    whole = prompts + answers + extra
    limit = min(MOST_LENGTH, int(getattr(tokenizer, "model_max_length", MOST_LENGTH)))
    wanted = _rounded(int(np.percentile(whole, 99)) + 1)
    max_length = min(limit, wanted)
    metric, reason = _metric(layout, seen, rows)
    options: dict[str, Any] = {**_columns(layout), "metric": metric}
    comments = {
        "metric": reason,
        "max_length": f"99 % of the rows are shorter; the longest of those counted has {whole.max()}",
    }
    if metric == "numeric":
        options["answer"] = "last"
    if metric != "loss":
        options["max_new_tokens"] = min(MOST_NEW_TOKENS, limit // 2, int(answers.max()) + 2)
        comments["max_new_tokens"] = f"the longest answer of those counted has {answers.max()} tokens"
    options["max_length"] = max_length
    oddities = []
    if seen.num_targets < seen.num_rows:
        options["empty_targets"] = "drop"
    if int((prompts + extra >= max_length).sum()):
        options["long_prompts"] = "drop"
    if over := int((whole > max_length).sum()):
        oddities.append(
            f"about {100 * over / len(whole):.1f} % of the rows are longer than {max_length} tokens: cut off"
        )
    reasons = [
        f"scored by {metric}: {reason}",
        f"tokens a row: median {int(np.median(whole))}, 99 % below {int(np.percentile(whole, 99)) + 1}, "
        f"longest {whole.max()} (of {len(whole):,} counted, under this model's tokenizer)",
        "prompts are written plainly, as for a base model"
        if template is None
        else f"prompts are written through a chat template: {template.name}",
    ]
    return DraftedTask(options=options, comments=comments, reasons=tuple(reasons), oddities=tuple(oddities))


def _columns(layout: Layout) -> dict[str, Any]:
    """What tells the columns; nothing where the task recognises them itself and no option could say it."""
    columns: dict[str, Any] = {}
    if layout.turns is not None:
        columns = {"turns": layout.turns}
    elif layout.prompt is not None:
        columns = {"prompt": layout.prompt, "target": layout.target}
    return columns | ({} if layout.system is None else {"system_column": layout.system})


def _metric(layout: Layout, seen: Seen, rows: Sequence[Text]) -> tuple[str, str]:
    """How answers are scored, and why."""
    targets = [row.target for row in rows if row.target is not None]
    if layout.is_plain_text:
        return "loss", "plain text has no answers; the held-out loss per token"
    if seen.has_labels:
        majority = seen.majority
        if majority is not None and majority[1] > IMBALANCED:
            return "macro_f1", f"{len(seen.targets)} labels, one of them in {100 * majority[1]:.0f} % of the rows"
        return "exact_match", f"the answers are {len(seen.targets)} labels"
    if seen.num_numbers >= NEARLY_ALL * seen.num_targets:
        return "numeric", "the answers are numbers"
    if all(_is_worked(target) for target in targets):
        return "numeric", "the answers work towards a number that they state at their end"
    if all(_is_json(target) for target in targets):
        return "json", "the answers are JSON; the share of fields that are right"
    if median(len(target.split()) for target in targets) <= SHORT_ANSWER:
        return "exact_match", "the answers are a few words"
    return "loss", "the answers are free text that no simple match can score; the held-out loss per token"


def _is_worked(target: str) -> bool:
    has_mark = "####" in target or "\\boxed" in target or "answer is" in target.lower()
    return has_mark and extract_solution(target) is not None and extract_number(target) is not None


def _is_json(target: str) -> bool:
    try:
        return isinstance(json.loads(target), (dict, list))
    except ValueError:
        return False


def _lengths(tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
    rows = tokenizer(list(texts), padding=False, truncation=False, add_special_tokens=False, verbose=False)["input_ids"]
    return np.array([len(ids) for ids in rows], dtype=np.int64)


def _rounded(length: int) -> int:
    """The next multiple of 32.

    >>> _rounded(33), _rounded(64)
    (64, 64)
    """
    return -(-length // ROUND_TO) * ROUND_TO
