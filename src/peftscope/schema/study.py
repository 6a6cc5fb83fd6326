"""What a user asks to compare: the study and its parts. Field docstrings are the help text of the file.

No torch here: a study is read and checked in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from peftscope.schema.base import Frozen
from peftscope.schema.effort import EFFORTS, Effort, EffortName
from peftscope.schema.identity import COST, NEITHER, QUALITY
from peftscope.schema.seeds import SeedPlan

__all__ = [
    "MeasureSpec",
    "MemorySetting",
    "MethodSpec",
    "ModelSpec",
    "Rate",
    "Seed",
    "StudySpec",
    "TaskSpec",
    "TrainSpec",
    "TuningSpec",
]

MemorySetting = Literal["plain", "fast", "lean", "minimal"]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[
    Annotated[tuple[Seed, ...], Field(min_length=1), Tag("a list")] | Annotated[SeedPlan, Tag("a plan")],
    Discriminator(lambda given: "a plan" if isinstance(given, (SeedPlan, Mapping)) else "a list"),
]


class ModelSpec(Frozen):
    """The base model every method starts from."""

    source: Annotated[str, NEITHER]
    """Hub id, local folder, path of a GGUF file, or ``builtin:`` with ``smollm2-135m``, ``nano-lm`` (text) or
    ``nano-t2i`` (pictures); the last two train in seconds."""
    kind: Annotated[str | None, NEITHER] = None
    """Kind of model, such as ``causal-lm``; None takes the one the task is learned on, or finds out."""
    revision: Annotated[str | None, NEITHER] = None
    """Hub revision; None takes the default branch."""
    dtype: Annotated[Literal["auto", "float32", "bfloat16", "float16"], NEITHER] = "auto"
    """Type of the base weights; ``auto`` is bfloat16 on accelerators that have it, float32 elsewhere."""
    quantization: Annotated[Literal["int8", "nf4"] | dict[str, Any] | None, QUALITY] = None
    """bitsandbytes 8 bit or NF4, or a mapping that is handed to transformers (with its ``quant_method``)."""
    device: Annotated[str, NEITHER] = "auto"
    """Where to run: ``cpu`` or the accelerator, as PyTorch names it (``cuda``, ``xpu``, ``mps``, …); ``auto`` takes the
    accelerator where there is one."""
    attn_implementation: Annotated[str | None, COST] = None
    """Attention kernel, as transformers names it; None leaves the choice to transformers."""

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


class TaskSpec(Frozen):
    """A task by name, with that task's own options beside the name."""

    name: str
    """A registered task, such as ``math`` or ``own-data``."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The task's options; in a file they stand beside ``name``."""

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict):
            beside = {k: v for k, v in value.items() if k not in ("name", "options")}
            kept = {k: v for k, v in value.items() if k in ("name", "options")}
            given = kept.get("options") or {}
            if beside and isinstance(given, dict):
                kept["options"] = {**given, **beside}
            return kept
        return value


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that steer a terminal or turn the direction of text."""


class MethodSpec(Frozen):
    """A method, with what is to differ from its card."""

    name: str
    """Name of a card (``peftscope methods`` lists them)."""
    label: str | None = None
    """A name of your own, where one method is listed twice with different settings."""
    learning_rates: tuple[Rate, ...] | None = Field(default=None, min_length=1)
    """Learning rates to try, each a row of its own; None takes the card's default, or with ``tuning`` searches."""
    search: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """With ``tuning``: settings to search beside the learning rate, each with its candidates, such as ``r: [8, 32]``.
    They share the trials every method has."""
    knobs: dict[str, Any] = Field(default_factory=dict)
    """Settings that differ from the card's, by the field names of the method's ``peft`` config."""
    targets: tuple[str, ...] | str | None = None
    """What to adapt: names, or tails of names, of modules and of fused expert weights; ``all-linear``, the one policy
    for all (linear layers of the blocks), which None takes; ``experts``, what that leaves out; or one string that is a
    pattern over full names."""
    peft_config: dict[str, Any] | None = None
    """A whole ``adapter_config.json``, taken as it is; set by ``peftscope run DIR``."""
    optimizer: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the optimizer that differ from the study's, such as ``weight_decay``."""

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("learning_rates")
    @classmethod
    def _rates_are_unique(cls, rates: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if rates is not None and len(set(rates)) < len(rates):
            raise ValueError("a learning rate is listed more than once; to repeat a run give more seeds")
        return rates

    @property
    def title(self) -> str:
        """The label where there is one, else the name; what could steer a terminal is made visible."""
        return CONTROL.sub("\ufffd", self.label or self.name)


class TrainSpec(Frozen):
    """How every method is trained: the same for all."""

    max_steps: Annotated[int, QUALITY] = Field(default=500, gt=0)
    """Optimizer steps."""
    epochs: Annotated[float | None, QUALITY] = Field(default=None, gt=0)
    """Passes over the training samples, instead of ``max_steps``: counted when the data are read."""
    batch_size: Annotated[int, QUALITY] = Field(default=4, gt=0)
    """Samples in a micro-batch."""
    accumulation: Annotated[int, QUALITY] = Field(default=1, gt=0)
    """Micro-batches in a step."""
    weight_decay: Annotated[float, QUALITY] = Field(default=0.0, ge=0)
    """AdamW's weight decay."""
    warmup_fraction: Annotated[float, QUALITY] = Field(default=0.05, ge=0, le=1)
    """Share of the steps over which the learning rate rises linearly to its peak."""
    schedule: Annotated[Literal["cosine", "linear", "constant"], QUALITY] = "cosine"
    """Course of the learning rate after warm-up."""
    grad_norm_clip: Annotated[float | None, QUALITY] = Field(default=1.0, gt=0)
    """Largest norm of the gradient; None does not clip."""
    eval_every: Annotated[int | None, COST] = Field(default=None, gt=0)
    """Steps between validations; None validates at the end only."""
    checkpointing: Annotated[bool, COST] = False
    """Recompute activations in the backward pass: less memory, more time."""
    autocast: Annotated[bool, QUALITY] = False
    """Mixed precision by autocast, where the device has it."""
    autocast_adapter_dtype: Annotated[bool, QUALITY] = True
    """Keep the adapter's weights in float32 when the base is in a half type (``peft``'s default)."""
    memory: Annotated[MemorySetting, COST] = "plain"
    """Memory setting; gradients and losses are the same with each. ``plain`` is the model's own loss on all of its
    outputs, the reference. ``fast`` takes the loss where there are labels and never holds all outputs, and on a CPU
    multiplies by oneDNN. ``lean`` also recomputes in the backward pass what is cheap and keeps products and attention.
    ``minimal`` is ``fast`` with checkpointing."""

    @property
    def saves_loss_memory(self) -> bool:
        """Whether all outputs of the model are never to be held at once."""
        return self.memory != "plain"

    @property
    def recomputation(self) -> Literal["none", "cheap", "all"]:
        """Which activations are computed again in the backward pass."""
        if self.checkpointing or self.memory == "minimal":
            return "all"
        return "cheap" if self.memory == "lean" else "none"

    @model_validator(mode="after")
    def _one_recomputation(self) -> Self:
        if self.checkpointing and self.memory == "lean":
            raise ValueError(
                "memory: lean keeps what is dear to recompute, and checkpointing recomputes everything; take one of "
                "the two away (memory: minimal is checkpointing with the loss of fast)"
            )
        return self

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.epochs is not None and self.max_steps != type(self).model_fields["max_steps"].default:
            raise ValueError("epochs and max_steps: both say how long to train; take one of the two away")
        return self

    def with_steps(self, epoch_size: int) -> TrainSpec:
        """The same with its epochs counted as steps.

        >>> TrainSpec(epochs=2, batch_size=4).with_steps(50).max_steps
        25
        """
        if self.epochs is None:
            return self
        steps = max(1, round(self.epochs * epoch_size / (self.batch_size * self.accumulation)))
        return self.model_copy(update={"epochs": None, "max_steps": steps})


class MeasureSpec(Frozen):
    """What is measured beside the task's own metric."""

    latency: Annotated[bool, NEITHER] = True
    """Measure what inference costs, with the adapter and merged: of a language model a step of decoding."""
    metered_steps: Annotated[int, NEITHER] = Field(default=2, ge=0)
    """Steps at the longest batch over which live storage is counted, outside the timed window."""
    keep_outputs: Annotated[int, NEITHER] = Field(default=8, ge=0)
    """Outputs kept in the record, beside every example's score."""


class TuningSpec(Frozen):
    """How each method's configuration is chosen: the same offer for all, on validation data alone."""

    effort: EffortName | None = None
    """``quick``, ``standard`` or ``thorough``: each goes on until the best learning rate has a worse neighbour on both
    sides; they differ in how many seeds they look at, and so in their price. ``standard`` where nothing is said."""
    trials: int | None = Field(default=None, ge=1)
    """Instead of an effort, so many learning rates for every method, on one seed: a fixed price, but the best may
    lie at the edge of what was tried, and the best of noisy scores need not be the best rate."""
    seed: Seed = 1000
    """First seed of the trials, the others follow it; none of the study's seeds, so that no run is scored on a seed it
    was tuned with."""
    rungs: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.2,)
    """Shares of the steps at which trials are compared by validation loss. Short trials of an effort stop at the first.
    With ``trials``, the best and the next higher learning rates go on with the same schedule, the others end there;
    empty trains every trial to the end."""

    @property
    def protocol(self) -> Effort | None:
        """The effort's protocol; None where a number of trials is given."""
        return None if self.trials is not None else EFFORTS[self.effort or "standard"]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that trials may use."""
        return tuple(self.seed + number for number in range(self.protocol.num_seeds if self.protocol else 1))

    @field_validator("rungs")
    @classmethod
    def _rungs_rise(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if list(rungs) != sorted(set(rungs)):
            raise ValueError("rungs rise, each a larger share of the steps than the one before")
        return rungs

    @model_validator(mode="after")
    def _one_protocol(self) -> Self:
        if self.effort is not None and self.trials is not None:
            raise ValueError("effort and trials: an effort says how many trials there are; take one of the two away")
        if self.trials is None and not self.rungs:
            raise ValueError("an effort's short trials stop at the first rung; give 'rungs' one, such as [0.2]")
        return self


class StudySpec(Frozen):
    """A comparison: methods × learning rates × seeds on one model and one task."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Name of the study, a word that can be a folder."""
    model: ModelSpec
    """The base model."""
    task: TaskSpec
    """What is learned and how it is scored."""
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    """The methods to compare."""
    tuning: TuningSpec | None = None
    """How each method's learning rate is chosen; None takes the card's default or the rates given."""
    seeds: Seeds = (0, 1, 2)
    """One final run per seed, which sets the adapter's initialisation and the order of the data together; or
    ``{first: 3, most: 10}``: so many for every method, then more for those between which they decide."""
    race: bool = True
    """Stop training a method once another is detectably better in score, memory, time and checkpoint alike; asked after
    each round of seeds, from the second on. False trains every method with every seed."""
    vary_split: bool = False
    """Let the seed decide the cut between training and validation data, too; the test split stays."""
    train: TrainSpec = TrainSpec()
    """How every method is trained."""
    measure: MeasureSpec = MeasureSpec()
    """What is measured."""
    include_base: bool = True
    """Score the untouched base model as the zero line."""

    @property
    def first_seeds(self) -> tuple[int, ...]:
        """Seeds that every method has."""
        return self.seeds.seeds[: self.seeds.first] if isinstance(self.seeds, SeedPlan) else self.seeds

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Seeds that a method may have."""
        return self.seeds.seeds if isinstance(self.seeds, SeedPlan) else self.seeds

    @field_validator("methods")
    @classmethod
    def _titles_are_unique(cls, methods: tuple[MethodSpec, ...]) -> tuple[MethodSpec, ...]:
        titles = [m.title for m in methods]
        twice = sorted({t for t in titles if titles.count(t) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is listed more than once; give each a 'label' of its own")
        return methods

    @field_validator("seeds")
    @classmethod
    def _seeds_are_unique(cls, seeds: tuple[int, ...] | SeedPlan) -> tuple[int, ...] | SeedPlan:
        if not isinstance(seeds, SeedPlan) and len(set(seeds)) < len(seeds):
            raise ValueError("a seed is listed more than once")
        return seeds

    @model_validator(mode="after")
    def _offers_are_equal(self) -> Self:
        """Every method is offered the same number of settings, and none is scored on the seed it was tuned with."""
        if self.tuning is None:
            searched = [m.title for m in self.methods if m.search]
            if searched:
                raise ValueError(f"{', '.join(searched)}: 'search' needs 'tuning'; give the study a 'tuning: {{}}'")
            offers = {m.title: len(m.learning_rates or (None,)) for m in self.methods}
            if len(set(offers.values())) > 1:
                listed = ", ".join(f"{title} {count}" for title, count in offers.items())
                raise ValueError(
                    f"every method is offered the same number of learning rates; given: {listed}. Let 'tuning' "
                    "search them, with the same number of trials for each"
                )
            return self
        given = [m.title for m in self.methods if m.learning_rates is not None]
        if given:
            raise ValueError(
                f"{', '.join(given)}: learning_rates and tuning; with tuning every method's rate is searched with "
                "the same number of trials; take one of the two away"
            )
        shared = [seed for seed in self.tuning.seeds if seed in self.all_seeds]
        if shared:
            raise ValueError(
                f"seed {shared[0]} is the tuning's, too: a run would be scored on the seed it was tuned with; "
                "take another for one of them"
            )
        return self
