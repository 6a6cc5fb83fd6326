"""What is odd in a table: gaps, repeats, contradictions, marks of other formats; with counts and the first rows.

One pass over the rows, of which hashes are kept and no texts: a million rows take seconds and some hundred megabytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from peftscope.tasks.splits import same_key
from peftscope.tasks.text.groups import bare_key
from peftscope.tasks.text.layouts import Text
from peftscope.tasks.text.rows import listed_rows

__all__ = ["IN_TRAINING", "Finding", "Seen", "look_at", "near_keys_of", "shared_rows"]

GAP_WORDS = frozenset({"nan", "null", "none", "n/a", "na", "<na>", "undefined", "#n/a"})
"""Words that programs write for what is missing."""
SPECIAL = re.compile(r"<\|[A-Za-z_]+\|>|<｜[^｜]{1,40}｜>|\[/?INST\]|</?s>|<(?:bos|eos|start_of_turn|end_of_turn)>")
"""Marks of models' formats."""
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")
OTHER_DIGITS = re.compile(r"[^\W\D]")
NO_TARGET = "have no target"
IN_TRAINING = "ask what a training row asks"
MOST_LABELS = 50
MOST_KEPT = 1000
"""Different targets of which the texts are kept and counted."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something odd, and where."""

    what: str
    """As a sentence goes on after the number of rows."""
    count: int
    rows: tuple[int, ...]
    """Positions of the first three."""

    def text(self, num_rows: int) -> str:
        """As a line.

        >>> Finding(what="have an empty target", count=2, rows=(0, 4)).text(10)
        '2 of 10 rows have an empty target (rows 1, 5)'
        """
        word = "row" if num_rows == 1 else "rows"
        listed = listed_rows([*self.rows, *([self.rows[-1]] if self.count > len(self.rows) else [])])
        return f"{self.count:,} of {num_rows:,} {word} {self.what} ({listed})"


@dataclass(kw_only=True)
class Seen:
    """What a look at a table found."""

    num_rows: int
    findings: list[Finding] = field(default_factory=list)
    targets: Counter[str] = field(default_factory=Counter)
    """Different targets and how often they stand, as long as they are few."""
    num_targets: int = 0
    """Rows with a target."""
    num_numbers: int = 0
    """Rows whose target is a number and nothing else."""
    num_turns: int = 0
    """Rows with more than one answer of the assistant."""
    keys: frozenset[int] = frozenset()
    """Hashes of what is asked."""

    @property
    def has_labels(self) -> bool:
        """Whether targets are few and short, each on several rows: labels to sort into."""
        few = 2 <= len(self.targets) <= min(MOST_LABELS, max(2, self.num_targets // 5))
        return few and all(len(target.split()) <= 6 and len(target) <= 60 for target in self.targets)

    @property
    def majority(self) -> tuple[str, float] | None:
        """The commonest target and its share, of labels."""
        if not self.has_labels:
            return None
        ((target, count),) = self.targets.most_common(1)
        return target, count / self.num_targets

    def labels(self, shown: int = 8) -> str | None:
        """Labels and how often they stand; None where targets are no labels."""
        majority = self.majority
        if majority is None:
            return None
        counts = [f"{target!r} {count:,}" for target, count in self.targets.most_common(shown)]
        more = len(self.targets) - shown
        told = ", ".join(counts) + (f" and {more} more" if more > 0 else "")
        return f"{len(self.targets)} labels: {told}; always giving the commonest is right in {100 * majority[1]:.1f} %"

    def lines(self, source: str) -> list[str]:
        """What a run says of its data: labels, and what is odd but for gaps, which are refused or counted anyway."""
        odd = [finding.text(self.num_rows) for finding in self.findings if finding.what != NO_TARGET]
        return [f"{source}: {line}" for line in (*([] if self.labels() is None else [self.labels()]), *odd)]


class _Odd:
    """Rows gathered under what is odd with them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._rows: dict[str, list[int]] = {}

    def note(self, what: str, index: int) -> None:
        self._counts[what] += 1
        rows = self._rows.setdefault(what, [])
        if len(rows) < 3:
            rows.append(index)

    def findings(self) -> Iterator[Finding]:
        for what, count in self._counts.items():
            yield Finding(what=what, count=count, rows=tuple(self._rows[what]))


def look_at(texts: Sequence[Text], *, is_plain_text: bool = False) -> Seen:
    """Look at every row.

    Args:
        texts: The rows of a table, laid out.
        is_plain_text: Whether there are no prompts.
    """
    seen, odd = Seen(num_rows=len(texts)), _Odd()
    targets_of: dict[int, int] = {}
    torn: set[int] = set()
    for index, text in enumerate(texts):
        key = _asked(text)
        if not is_plain_text and not text.prompt.strip() and not text.turns:
            odd.note("have an empty prompt", index)
        if text.num_left_out:
            odd.note("end in turns without an answer, which are left out", index)
        _look_for_marks(text, index, odd)
        if text.target is None:
            odd.note(NO_TARGET, index)
            continue
        _count_target(text, index, seen, odd)
        answer = hash(same_key(text.target))
        if key not in targets_of:
            targets_of[key] = answer
        elif targets_of[key] == answer or is_plain_text:
            odd.note("repeat another row word for word", index)
        else:
            torn.add(key)
    if torn:  # the first row of each such prompt is told from the others only now
        for index, text in enumerate(texts):
            if text.target is not None and _asked(text) in torn:
                odd.note("have a prompt that stands with several different targets", index)
    seen.findings = list(odd.findings())
    seen.keys = frozenset(targets_of)
    return seen


def shared_rows(texts: Sequence[Text], keys: frozenset[int], near: frozenset[int]) -> list[Finding]:
    """Held-out rows that stand in training, too.

    Args:
        texts: The held-out rows.
        keys: Of the training rows (``Seen.keys``).
        near: Of the training rows (``near_keys_of``).
    """
    odd = _Odd()
    for index, text in enumerate(texts):
        if _asked(text) in keys:
            odd.note(IN_TRAINING, index)
        elif _nearly_asked(text) in near:
            odd.note("ask what a training row asks but for numbers or signs", index)
    return list(odd.findings())


def near_keys_of(texts: Sequence[Text]) -> frozenset[int]:
    """Hashes of what is asked, numbers and signs left out."""
    return frozenset(map(_nearly_asked, texts))


def _asked(text: Text) -> int:
    return hash(same_key(text.prompt or text.target or ""))


def _nearly_asked(text: Text) -> int:
    return hash(bare_key(text.prompt or text.target or ""))


def _count_target(text: Text, index: int, seen: Seen, odd: _Odd) -> None:
    assert text.target is not None
    seen.num_targets += 1
    seen.num_numbers += _is_number(text.target)
    seen.num_turns += sum(turn.role == "assistant" for turn in text.turns) > 1
    if len(seen.targets) < MOST_KEPT or text.target in seen.targets:
        seen.targets[text.target] += 1
    if text.target.strip().lower() in GAP_WORDS:
        odd.note(f"have the target {text.target.strip()!r}, a word that programs write for a gap", index)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[-+]?[$€£¥]?\s?\d[\d,. ]*%?\s*", text) is not None


def _look_for_marks(text: Text, index: int, odd: _Odd) -> None:
    whole = f"{text.prompt}\n{text.target or ''}"
    if "<" in whole or "[" in whole:
        found = SPECIAL.search(whole)
        if found is not None:
            odd.note(f"hold marks of a model's format, such as {found[0]}", index)
    if CONTROL.search(whole) is not None:
        odd.note("hold control characters or signs that could not be decoded", index)
    if not whole.isascii():
        other = next((digit for digit in OTHER_DIGITS.findall(whole) if not digit.isascii()), None)
        if other is not None:
            script = unicodedata.name(other, "UNKNOWN").split(" DIGIT")[0].lower()
            odd.note(f"hold digits of another script ({script})", index)
