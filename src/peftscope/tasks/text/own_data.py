"""The user's own rows: a prompt template over their columns, a target column, a metric of choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from peftscope.errors import DataError
from peftscope.models.kinds.causal_lm.generation import Generated
from peftscope.schema.metric import MetricSpec
from peftscope.tasks.base import ExampleScore, Retention, Split, TaskContext
from peftscope.tasks.splits import default_part, num_wanted, same_key, sample, seeded_split
from peftscope.tasks.text import text_metrics
from peftscope.tasks.text.cached_splits import CachedSplits, read_splits
from peftscope.tasks.text.decoded import as_decoded
from peftscope.tasks.text.examples import SPLITS, Prepared, TextExample
from peftscope.tasks.text.graders import grader, source_files, source_hash
from peftscope.tasks.text.groups import HELD_OUT, bare_key, grouped, near_duplicates_note, together_key
from peftscope.tasks.text.language import LanguageTask
from peftscope.tasks.text.macro_f1 import macro_f1_parts
from peftscope.tasks.text.metric_names import also_name
from peftscope.tasks.text.options import OwnDataOptions
from peftscope.tasks.text.own_rows import each_answer, read_examples
from peftscope.tasks.text.places import named_files
from peftscope.tasks.text.rows import listed_rows

__all__ = ["OwnDataTask"]

TRIED_TARGETS = 200
"""Targets that a metric of the user's own is tried on before anything is trained."""


class OwnDataTask(LanguageTask):
    """The user's own rows."""

    name: ClassVar[str] = "own-data"
    version: ClassVar[int] = 2

    def __init__(self, options: OwnDataOptions, context: TaskContext, kept: CachedSplits | None = None) -> None:
        self.generates = options.metric != "loss"
        self.needs_whole_target = options.metric in ("exact_match", "macro_f1", "contains", "normalized_match")
        self._metric_name = options.metric
        self._first_stated_decides = options.answer == "first" and options.metric == "numeric" and not options.also
        self.form = options.prompt or ""
        self._ignore_case = options.ignore_case
        self._grader = grader(options)
        self._also = {name: grader(options, name) for name in options.also}
        super().__init__(options, context, kept or _prepared(options))
        if kept is None:
            for split in HELD_OUT if self.needs_whole_target else ():
                self._examples[split], notes = as_decoded(
                    self._examples[split], self._encoded[split], context.processor, split=split
                )
                self._notes += notes
            self._notes += self._never_given()
            if ":" in options.metric or options.pattern is not None:  # the user's own should fail before the training
                self._try_grading()

    def _try_grading(self) -> None:
        """Grade the right answers of the test rows, one of each kind: a metric may fail on one of them alone."""
        by_target = {example.target: example for example in reversed(self._examples["test"])}
        for target, example in list(by_target.items())[:TRIED_TARGETS]:
            self.grade(example, target)

    def sources(self) -> Sequence[Path]:
        """The files that were named, and the module of a metric of the user's own."""
        return [*named_files(self.options), *source_files(self._metric_name)]

    def save_cache(self, folder: Path, retention: Retention | None = None) -> None:
        """Write the splits."""
        self.cache_splits(folder, retention)

    @classmethod
    def from_cache(cls, options: OwnDataOptions, context: TaskContext, folder: Path) -> Self:
        """The task with its splits as they were kept."""
        return cls(options, context, read_splits(folder))

    @property
    def metric(self) -> MetricSpec:
        """The metric the user chose; shares from 0 to 1, but the loss in nats per token."""
        if not self.generates:
            window = "mean over the examples of the split of each one's mean loss per label"
            return MetricSpec(name="held_out_loss", unit="nats/token", direction="lower", window=window)
        window = "all examples of the split"
        if self._metric_name == "macro_f1":
            window = "mean of each class's F1 over the classes among the targets of the split"
        name = self._metric_name
        if ":" in name:
            return MetricSpec(
                name=name.rpartition(":")[2], unit="score", direction="higher", window=f"{window}, by {name}"
            )
        return MetricSpec(name=name, unit="share", direction="higher", window=window)

    def fingerprint(self) -> dict[str, Any]:
        """What every language task tells, and of a metric of the user's own the hash of its source."""
        own = source_hash(self._metric_name)
        return {**super().fingerprint(), **({} if own is None else {"metric_source": own})}

    def _outcomes(self, split: Split, answers: Sequence[Generated]) -> Sequence[ExampleScore]:
        """One outcome per example; of macro-F1 what the example brings to it."""
        outcomes = super()._outcomes(split, answers)
        if self._metric_name != "macro_f1":
            return outcomes
        parts = self.scores_of(split, [outcome.output or "" for outcome in outcomes])
        return [replace(outcome, score=part) for outcome, part in zip(outcomes, parts)]

    def scores_of(self, split: Split, texts: Sequence[str]) -> Sequence[float]:
        """What given texts would score as the answers of a split; of macro-F1 what each brings to it."""
        return self._scores_by(self._metric_name, split, texts)

    def answer_facts(self, split: Split, outcomes: Sequence[ExampleScore]) -> Mapping[str, float]:
        """What every language task tells, and the further metrics that were asked for."""
        outputs = [outcome.output or "" for outcome in outcomes]
        also = {name: self._scores_by(name, split, outputs) for name in self._also if outputs}
        means = {also_name(name): sum(scores) / len(scores) for name, scores in also.items()}
        return {**super().answer_facts(split, outcomes), **means}

    def _ended(self, text: str) -> str:
        """An answer up to the first stop; of code with the white space it begins with, which counts there."""
        ended = super()._ended(text)
        indent = text[: len(text) - len(text.lstrip())] if self._metric_name == "code" else ""
        return indent + ended

    def _scores_by(self, metric: str, split: Split, texts: Sequence[str]) -> Sequence[float]:
        """Scores of answers by one metric, cut at the stops."""
        answers = [self._ended(text) for text in texts]
        targets = [example.solution for example in self._examples[split]]
        if metric != "macro_f1":
            grade = self._grader if metric == self._metric_name else self._also[metric]
            return [grade(answer, target) for answer, target in zip(answers, targets, strict=True)]
        told, truth = (
            [text_metrics.normalised(text, ignore_case=self._ignore_case) for text in some]
            for some in (answers, targets)
        )
        return macro_f1_parts(truth, told)

    def _never_given(self) -> list[str]:
        """What to say of targets that no answer can have, for want of tokens."""
        if not (self.generates and self.needs_whole_target):
            return []
        notes = []
        for split in HELD_OUT:
            never = np.flatnonzero(self._unreachable(split)).tolist()
            if never:
                example = self._examples[split][never[0]]
                notes.append(
                    f"{split}: {len(never)} of {self.size(split)} targets have more tokens than an answer may have "
                    f"({self.options.max_new_tokens}) and can never be given, such as {example.target[:40]!r}; raise "
                    "task.max_new_tokens"
                )
        return notes

    def grade(self, example: TextExample, output: str) -> float:
        """Score of an answer."""
        return self._grader(output, example.solution)


def _prepared(options: OwnDataOptions) -> Prepared:
    """Examples of all splits, cut off the training rows where no own file is given."""
    train, notes = read_examples(options, options.train or "train")
    num_rows = len(train)
    given: dict[Split, list[TextExample]] = {}
    wanted: dict[Split, int] = {}
    places: tuple[tuple[Split, str | None, int | float | None], ...] = (
        ("test", options.test, options.test_size),
        ("valid", options.valid, options.valid_size),
    )
    for split, place, size in places:
        if place is None:
            wanted[split] = num_wanted(size, num_rows, default=default_part(num_rows))
        else:
            found, more = read_examples(options, place)
            notes += more
            chosen = sample(len(found), num_wanted(size, len(found), default=len(found)), options.split_seed)
            given[split] = [found[i] for i in chosen]
    parts, rest = seeded_split([together_key(e) for e in train], list(wanted.values()), options.split_seed)
    what = "equal prompts" if options.group is None else f"rows of equal {options.group!r}"
    for (split, size), part in zip(wanted.items(), parts):
        given[split] = [train[i] for i in part]
        if len(part) < size:
            notes.append(f"{split} has {len(part)} rows instead of {size}: {what} stay in one split")
    num_train = num_wanted(options.train_size, num_rows, default=len(rest))
    given["train"] = [train[rest[i]] for i in sample(len(rest), num_train, options.split_seed)]
    _require_rows(given, options, num_rows)
    if options.score_turns == "every":
        given |= {split: each_answer(given[split]) for split in HELD_OUT}
    notes += [*_overlaps(given, options), *_shared_groups(given)]
    prepared = grouped(Prepared(splits=given, notes=tuple(notes)))
    return replace(prepared, notes=(*prepared.notes, *near_duplicates_note(prepared.splits["test"])))


def _shared_groups(given: dict[Split, list[TextExample]]) -> Sequence[str]:
    """What to say of groups that stand in training and test, from files the user gave apart."""
    shared = {e.group for e in given["train"] if e.group is not None} & {e.group for e in given["test"]}
    return (
        [f"{len(shared)} groups of test stand in train too: its score may be too high for new ones"] if shared else []
    )


def _key(example: TextExample) -> str:
    # Plain text has no prompt; there the text itself must not stand in two splits.
    return same_key(example.prompt or example.target)


def _require_rows(given: dict[Split, list[TextExample]], options: OwnDataOptions, num_rows: int) -> None:
    empty = [split for split in SPLITS if not given[split]]
    if empty:
        num_different = len({_key(e) for examples in given.values() for e in examples})
        sizes = ", ".join(f"{split} {len(given[split])}" for split in SPLITS)
        raise DataError(
            f"{options.dataset or options.train}: the {' and '.join(empty)} split would be empty "
            f"({num_rows} rows, {num_different} different prompts: {sizes}); give smaller valid_size and "
            "test_size, or more rows"
        )


def _overlaps(given: dict[Split, list[TextExample]], options: OwnDataOptions) -> Sequence[str]:
    """What to say of prompts that stand in two splits; only files the user gave apart can have them.

    Raises:
        DataError: Rows of the test split stand in training, and that is not allowed.
    """
    keys = {split: {_key(e) for e in examples} for split, examples in given.items()}
    leaked = [index for index, e in enumerate(given["test"]) if _key(e) in keys["train"]]
    if leaked and options.overlap == "refuse":
        count = f"{len(leaked)} of {len(given['test'])} test rows stand in training with the same prompt"
        raise DataError(
            f"{options.test or 'test'}: {count} ({listed_rows(leaked)} of those drawn): their score would measure "
            "memory; take them out of one of the files, or set overlap: allow"
        )
    near = {bare_key(e.prompt or e.target) for e in given["train"]}
    nearly = [index for index, e in enumerate(given["test"]) if bare_key(e.prompt or e.target) in near]
    notes = []
    if len(nearly) > len(leaked):
        num_near, num_test = len(nearly) - len(leaked), len(given["test"])
        notes.append(
            f"{num_near} of {num_test} test rows ({100 * num_near / num_test:.0f} %) ask what a training row asks but "
            "for numbers or signs: where that is not the task, their score measures memory"
        )
    pairs: tuple[tuple[Split, Split], ...] = (("train", "valid"), ("train", "test"), ("valid", "test"))
    for first, second in pairs:
        if shared := len(keys[first] & keys[second]):
            notes.append(f"{shared} prompts of {second} stand in {first} too: its score is too high")
    return notes
