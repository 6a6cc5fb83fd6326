"""What language-model tasks share: tokens, batches, the loss, scoring by generation or by held-out loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from peftscope.errors import DataError
from peftscope.models.kinds.causal_lm.generation import Generated
from peftscope.models.kinds.causal_lm.loss import causal_lm_loss
from peftscope.schema.base import content_hash
from peftscope.tasks.base import (
    Batch,
    ExampleScore,
    Predictor,
    Retention,
    ShownExample,
    Split,
    Task,
    TaskContext,
)
from peftscope.tasks.order import epoch_batches
from peftscope.tasks.text.answer_facts import commonest_solution, run_on_share, target_in_prompt_share
from peftscope.tasks.text.answers import states_number
from peftscope.tasks.text.cached_splits import CachedSplits, Digests, cut_anew, digests_of, write_splits
from peftscope.tasks.text.chat_template import chat_template_for, how_written
from peftscope.tasks.text.chat_tokens import encode_chats, end_ids
from peftscope.tasks.text.examples import SPLITS, Prepared, TextExample
from peftscope.tasks.text.groups import HELD_OUT
from peftscope.tasks.text.held_out import losses_of, mean_losses, mean_of_answers, mean_per_label, references
from peftscope.tasks.text.lengths import check_fits_model, fit
from peftscope.tasks.text.options import LanguageOptions
from peftscope.tasks.text.packing import TrainingRows, num_sequences
from peftscope.tasks.text.special_tokens import without_doubled_tokens
from peftscope.tasks.text.text_metrics import cut_at, next_prompt_of
from peftscope.tasks.text.tokens import Encoded, collate, encode

__all__ = ["SPLITS", "LanguageTask", "Prepared", "TextExample"]

GENERAL = "general.json"


class LanguageTask(Task):
    """A task of prompts and answers for a causal language model.

    A subclass prepares the examples and grades an answer; the rest is here. One whose examples are all it has
    read can be kept: its ``save_cache`` calls ``cache_splits``, its ``from_cache`` hands on what ``read_splits`` gives.

    Args:
        options: The task's own options.
        context: Tokenizer and batch size.
        prepared: The examples, or all that was made of them when they were kept.

    Raises:
        DataError: A split is empty, the tokenizer has no EOS, or a prompt leaves no room for an answer.
    """

    unit: ClassVar[str] = "tokens"
    generates: bool = True
    """Whether scoring generates text; otherwise the score is the held-out loss."""
    form: str = ""
    """Template of the prompts; answers that run on into a next one end there."""
    needs_whole_target: bool = False
    """Whether an answer is right only where it has all of the target."""
    _first_stated_decides: bool = False
    """Whether nothing counts of an answer but the first number it states."""

    def __init__(self, options: LanguageOptions, context: TaskContext, prepared: Prepared | CachedSplits) -> None:
        assert context.processor is not None, "a language task needs the base model's tokenizer"
        self.options = options
        self.context = context
        self._notes = list(prepared.notes)
        self._examples: dict[Split, Sequence[TextExample]] = {}
        self._encoded: dict[Split, Encoded] = {}
        self._digests: dict[Split, Digests] = {}
        self._folder: Path | None = None
        self._next_prompt = next_prompt_of(self.form)
        kept = prepared.examples if isinstance(prepared, CachedSplits) else prepared.splits
        has_turns = any(example.turns for example in kept["train"][:1])
        self._template = chat_template_for(options.chat_template, context.processor, has_turns=has_turns)
        if isinstance(prepared, CachedSplits):
            assert prepared.settings == content_hash(self._settings()), "kept with other options or limits"
            self._examples.update(prepared.examples)
            self._encoded.update(prepared.encoded)
            self._digests.update(prepared.digests)
            self._folder = prepared.folder
            return
        self._notes += how_written(options.chat_template, self._template, context.processor)
        for split in SPLITS:
            examples, notes = without_doubled_tokens(prepared.splits[split], context.processor, split=split)
            self._notes += notes
            self._prepare(split, examples)

    @abstractmethod
    def grade(self, example: TextExample, output: str) -> float:
        """Score of a generated answer."""

    def size(self, split: Split) -> int:
        """Number of examples in a split."""
        return len(self._examples[split])

    def batches(self, seed: int) -> Iterator[Batch]:
        """Training batches without end, bucketed by length; ``order.epoch_batches`` says how."""
        return map(self._rows.batch, epoch_batches(self._rows.lengths, self.context.batch_size, seed))

    def epoch_size(self) -> int:
        """Training sequences, or rows they are packed into."""
        return len(self._rows.lengths)

    def eval_batches(self, split: Split) -> Iterator[Batch]:
        """A split once, longest sequences first, in batches of the training's size."""
        return (self._batch(split, indices) for indices in self._eval_order(split))

    def num_samples(self, batch: Batch) -> int:
        """Number of sequences."""
        return num_sequences(batch) if "position_ids" in batch else len(batch["input_ids"])

    def num_units(self, batch: Batch) -> int:
        """Number of tokens, padding left out."""
        return int(batch["attention_mask"].sum())

    def longest_batch(self) -> Batch:
        """The longest training rows in one batch: ``batches`` can draw it, and none is larger."""
        order = np.argsort(-self._rows.lengths, kind="stable")
        return self._rows.batch(order[: self.context.batch_size].tolist())

    def largest_training(self) -> tuple[int, int]:
        """Rows in a batch and tokens in the longest."""
        return min(self.context.batch_size, self.epoch_size()), int(self._rows.lengths.max())

    def largest_scoring(self) -> tuple[int, int] | None:
        """Prompts answered at once, and the longest with an answer of the most tokens it may have."""
        scored: tuple[Split, ...] = ("valid", "test")
        if not self.generates:
            return self.context.batch_size, max(int(self._encoded[split].lengths.max()) for split in scored)
        ends = [self._encoded[split].prompt_lengths + self._answer_limits(split) for split in scored]
        return self.options.eval_batch_size, max(int(lengths.max()) for lengths in ends)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """The model's own loss: sum over the labels, and their number.

        Raises:
            MethodRefused: Sequences packed into one row see one another with this model.
        """
        if "position_ids" in batch:
            self._rows.require_apart(model, batch)
        return causal_lm_loss(model, batch)

    def score(self, model: nn.Module, predictor: Predictor, split: Split) -> Sequence[ExampleScore]:
        """One outcome per example: its graded answer, or its mean loss per label."""
        if self.generates:
            return self._outcomes(split, self._answers(model, predictor, split))
        return self.score_and_loss(model, predictor, split)[0]

    def score_and_loss(
        self, model: nn.Module, predictor: Predictor, split: Split
    ) -> tuple[Sequence[ExampleScore], float | None]:
        """The same, and the split's loss, for which the model reads the right answers along with the prompts."""
        if type(self).score is not LanguageTask.score:  # a subclass scores in a way of its own
            return self.score(model, predictor, split), None
        if self.generates:
            read = references(self._encoded[split], self.options.train_on)
            answers = self._answers(model, predictor, split, references=read)
            return self._outcomes(split, answers), mean_of_answers(answers)
        found = losses_of(model, ((indices, self._batch(split, indices)) for indices in self._eval_order(split)))
        return mean_losses(self._examples[split], found), mean_per_label(found.values())

    def _answers(self, model: nn.Module, predictor: Predictor, split: Split, **told: Any) -> Sequence[Generated]:
        if self._template is not None:
            told["end_ids"] = end_ids(self._template)
        if self.options.early_stop and (self._stops or self._first_stated_decides):
            told["decided"] = self._is_decided
        answers: Sequence[Generated] = predictor(
            model,
            self._prompts(split),
            max_new_tokens=self.options.max_new_tokens,
            max_length=self.options.max_generation_length,
            batch_size=self.options.eval_batch_size,
            **told,
        )
        assert len(answers) == self.size(split), f"{len(answers)} answers to {self.size(split)} prompts"
        for answer, limit in zip(answers, self._answer_limits(split).tolist()):
            assert answer.num_tokens <= limit, f"{answer.num_tokens} tokens generated, the limit is {limit}"
        return answers

    def _outcomes(self, split: Split, answers: Sequence[Generated]) -> Sequence[ExampleScore]:
        return [
            ExampleScore(
                example_id=example.example_id,
                score=self.grade(example, self._ended(answer.text)),
                output=answer.text,
                truncated=answer.truncated,
                group=example.group,
            )
            for example, answer in zip(self._examples[split], answers)
        ]

    def _is_decided(self, text: str) -> bool:
        """Whether no score depends on what would follow such a beginning of an answer."""
        cut = cut_at(text, self._stops) != text.lstrip()
        return cut or (self._first_stated_decides and states_number(text))

    def scores_of(self, split: Split, texts: Sequence[str]) -> Sequence[float]:
        """What given texts would score as the answers of a split."""
        examples = self._examples[split]
        return [self.grade(example, self._ended(text)) for example, text in zip(examples, texts, strict=True)]

    def _ended(self, text: str) -> str:
        """An answer up to the first stop."""
        return cut_at(text, self._stops)

    @property
    def _stops(self) -> tuple[str, ...]:
        return (*self.options.stop, *self._next_prompt)

    def answer_facts(self, split: Split, outcomes: Sequence[ExampleScore]) -> Mapping[str, float]:
        """What one constant answer would score, and which targets cannot be given or stand in their prompts."""
        if not self.generates:
            return {}
        examples = self._examples[split]
        facts = {"target_in_prompt_share": target_in_prompt_share(examples)}
        if self._next_prompt and self._template is None:
            facts["run_on_share"] = run_on_share(outcomes, self._next_prompt)
        if self.needs_whole_target:
            facts["unreachable_share"] = float(self._unreachable(split).mean())
        commonest = commonest_solution(self._examples["train"])
        if commonest is not None:
            scores = self.scores_of(split, [commonest] * len(examples))
            facts["majority_score"] = sum(scores) / len(scores)
        return facts

    def _unreachable(self, split: Split) -> np.ndarray:
        """Of each example, whether its target has more tokens than its answer may have."""
        encoded = self._encoded[split]
        unreachable: np.ndarray = encoded.full_lengths - encoded.prompt_lengths - 1 > self._answer_limits(split)
        return unreachable

    def show(self, split: Split, index: int) -> ShownExample:
        """Prompt and target of an example."""
        example = self._examples[split][index]
        prompt = example.prompt
        if self._template is not None:
            prompt = self._template.render(example.conversation(self.options.system)[:-1], opened=True)
        return ShownExample(
            example_id=example.example_id,
            prompt=prompt,
            target=example.target,
            extra={"solution": example.solution, **example.extra},
        )

    def fingerprint(self) -> dict[str, Any]:
        """Version, options, limits, sizes, and per split a hash of the texts and one of the token ids."""
        return dict(self._fingerprint)

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        print_: dict[str, Any] = {
            **self._settings(),
            "sizes": {split: self.size(split) for split in SPLITS},
            "texts": {split: self._digest(split).texts for split in SPLITS},
            "token_ids": {split: self._digest(split).token_ids for split in SPLITS},
        }
        if self.generates:
            limits = {split: self._answer_limits(split) for split in HELD_OUT}
            print_["answer_tokens_allowed"] = {s: [int(v.min()), int(v.max())] for s, v in limits.items()}
        if self._template is not None:
            print_["chat_template"] = self._template.fingerprint
        return print_

    def resplit(self, seed: int) -> None:
        """Cut training and validation rows anew; rows of a group or with equal prompts stay together.

        The test split stays.
        """
        if reason := self.options.fixed_split():
            raise DataError(
                f"task {self.name}: {reason}, so the split cannot vary with the seed; set vary_split: false"
            )
        self.fingerprint()  # of the data as they were cut first, before they are cut again
        self._examples, self._encoded = cut_anew(self._examples, self._encoded, seed)
        self.__dict__.pop("_rows", None)  # they were of the training rows before

    def warnings(self) -> Sequence[str]:
        """Rows dropped and sequences cut off."""
        return tuple(self._notes)

    def retention(self) -> Retention | None:
        """Forgetting and drift on general text."""
        from peftscope.tasks.text.general_text import retention_on  # only runs that measure it need its text

        kept = None if self._folder is None else self._folder / GENERAL
        return retention_on(self.options, self.context.processor, kept)

    def cache_key(self) -> dict[str, Any]:
        """The fingerprint and the names of the examples, which it leaves out."""
        return {**super().cache_key(), "shown": {split: self._digest(split).shown for split in SPLITS}}

    def cache_splits(self, folder: Path, retention: Retention | None) -> None:
        """Write the splits, tokenised, and the token ids of general text; what a subclass's ``save_cache`` calls.

        Raises:
            OSError: The disk is full or not writable.
        """
        from peftscope.tasks.text.general_text import GeneralText

        write_splits(
            CachedSplits(
                folder=folder,
                settings=content_hash(self._settings()),
                notes=tuple(self._notes),
                examples=self._examples,
                encoded=self._encoded,
                digests={split: self._digest(split) for split in SPLITS},
            )
        )
        if isinstance(retention, GeneralText):
            retention.save_cache(folder / GENERAL)

    def _settings(self) -> dict[str, Any]:
        """What decides examples and token ids beside the data and the tokenizer."""
        return {"task": self.name, "version": self.version, "options": self.options.decisive()}

    def _digest(self, split: Split) -> Digests:
        if split not in self._digests:
            self._digests[split] = digests_of(self._examples[split], self._encoded[split])
        return self._digests[split]

    def _prepare(self, split: Split, examples: Sequence[TextExample]) -> None:
        """Tokenise a split; refuse, drop, part or cut off what is too long, and say so."""
        room = self._room(split)
        try:
            fitted = fit(examples, self._encode, split=split, room=room, options=self.options)
            self._examples[split], self._encoded[split], notes = fitted
            ends = self._encoded[split].prompt_lengths + self._answer_limits(split)
            answered = int(ends.max()) if self.generates and split != "train" else None
            check_fits_model(split, self._encoded[split], self.context.processor, answered)
        except DataError as error:
            raise DataError(f"task {self.name}: {error}") from None
        self._notes += notes

    def _room(self, split: Split) -> int:
        """Tokens a prompt must stay below so that one is left for the answer."""
        total = self.options.max_generation_length
        if total is None or split == "train" or not self.generates:
            return self.options.max_length
        return min(self.options.max_length, total)

    def _prompts(self, split: Split) -> Sequence[str] | Sequence[np.ndarray]:
        """What generation starts from; through a template the very ids that training starts from."""
        if self._template is None:
            return [example.prompt for example in self._examples[split]]
        encoded = self._encoded[split]
        return [encoded[i][: encoded.prompt_lengths[i]] for i in range(len(encoded))]

    def _encode(self, examples: Sequence[TextExample], max_length: int | None) -> Encoded:
        if self._template is not None:
            return encode_chats(
                self._template,
                {example.example_id: example.conversation(self.options.system) for example in examples},
                train_on=self.options.train_on,
                max_length=max_length,
            )
        return encode(
            self.context.processor,
            [example.prompt for example in examples],
            [example.target for example in examples],
            separator=self.options.separator,
            max_length=max_length,
        )

    def _batch(self, split: Split, indices: Sequence[int]) -> Batch:
        # Padded with EOS: the one token that is there for certain and surely has an embedding.
        pad_id = self.context.processor.eos_token_id
        return collate(self._encoded[split], indices, pad_id=pad_id, train_on=self.options.train_on)

    @cached_property
    def _rows(self) -> TrainingRows:
        return TrainingRows(
            self._encoded["train"],
            room=self.options.max_length if self.options.packing else None,
            pad_id=self.context.processor.eos_token_id,
            train_on=self.options.train_on,
        )

    def _eval_order(self, split: Split) -> list[list[int]]:
        order, size = np.argsort(-self._encoded[split].lengths, kind="stable").tolist(), self.context.batch_size
        return [order[i : i + size] for i in range(0, len(order), size)]

    def _answer_limits(self, split: Split) -> np.ndarray:
        """Tokens each example's answer may have: the smaller of the two limits."""
        lengths = self._encoded[split].prompt_lengths
        total = self.options.max_generation_length
        allowed = np.full(len(lengths), self.options.max_new_tokens)
        return allowed if total is None else np.minimum(allowed, total - lengths)
