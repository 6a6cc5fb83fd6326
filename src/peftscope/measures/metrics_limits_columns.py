"""What our own measurements give: unit, direction and window of each quantity, by measurement. No torch."""

from __future__ import annotations

from functools import partial

from peftscope.schema.metric import MetricSpec

__all__ = ["CHECKPOINT", "FORGETTING", "LOSSES", "MEMORY", "SCORES", "SIZES", "TRAINING", "VALIDATION"]

STEPS = "training steps alone: no loading, data preparation, validation, scoring or metering"
METERED = "metered steps at the longest batch, run after everything else was measured"
GENERAL = "tokens of general text, each predicted from those before it in its paragraph; padding left out"

_of_machine = partial(MetricSpec, group="cost", protocol="cost")
_seconds = partial(_of_machine, unit="s", direction="lower", repeats=False)
_bytes = partial(_of_machine, unit="bytes", direction="lower")
_share_of_answers = partial(MetricSpec, unit="share", direction="neutral")
_count = partial(MetricSpec, unit="count", direction="neutral", group="cost")

SCORES = (
    MetricSpec(name="test_score", unit="task", direction="higher", window="mean over the test split"),
    MetricSpec(
        name="truncated_share", unit="share", direction="lower", window="test outputs that hit the length limit"
    ),
    _share_of_answers(name="majority_score", window="what always giving the commonest training answer would score"),
    _share_of_answers(name="same_answer_share", window="test outputs that are the commonest of them"),
    _share_of_answers(name="unreachable_share", window="test targets with more tokens than an answer may have"),
    _share_of_answers(name="target_in_prompt_share", window="test prompts in which the target stands"),
    _share_of_answers(name="run_on_share", window="test outputs that go on after their end into a next prompt"),
    _seconds(name="eval_time_s", window="scoring the test split once, and its loss where the same pass gives it"),
    _bytes(name="peak_eval_reserved_bytes", repeats=False, window="accelerator: reserved over scoring"),
    _bytes(
        name="sampled_eval_memory_bytes",
        repeats=False,
        window="CPU: the process's anonymous memory, sampled over scoring; holds sampled_base_memory_bytes",
    ),
)

VALIDATION = (
    MetricSpec(name="valid_score", unit="task", direction="higher", window="mean over the validation split"),
    _bytes(
        name="peak_eval_memory_bytes",
        window="CPU: live storage over a metered scoring of validation; accelerator: allocated over scoring",
        heading="eval mem",
    ),
)

LOSSES = (
    MetricSpec(name="valid_loss", unit="task", direction="lower", window="validation split, after training"),
    MetricSpec(name="test_loss", unit="task", direction="lower", window="test split, after training"),
)

SIZES = (
    _count(name="num_trainable_params", window="what the optimizer trains", heading="trained", direction="lower"),
    _count(name="num_total_params", window="base and adapter"),
    _bytes(name="base_memory_bytes", window="the base's parameters and buffers"),
    _bytes(
        name="sampled_base_memory_bytes",
        direction="neutral",
        repeats=False,
        window="CPU: rise of the process's anonymous memory by loading the base; mapped weight files are not in it",
    ),
)

TRAINING = (
    MetricSpec(
        name="train_loss",
        unit="task",
        direction="lower",
        window="last stretch of the training curve",
        needs_training=True,
    ),
    _seconds(
        name="train_time_s",
        window=STEPS,
        label="training time",
        heading="train",
        limit="time",
        needs_training=True,
    ),
    _seconds(
        name="init_time_s",
        window="attaching the method, with what it takes from weights and data before the first step",
        label="initialisation time",
        needs_training=True,
    ),
    _seconds(name="total_time_s", window="the run, from load to last measurement; without the baseline all runs share"),
    _of_machine(
        name="units_per_s",
        unit="task units/s",
        label="training speed",
        direction="higher",
        repeats=False,
        window=STEPS,
        needs_training=True,
    ),
    _count(name="num_steps", window="optimizer steps done", needs_training=True),
    _count(name="num_samples", window="samples trained on", needs_training=True),
    _count(name="num_units", window="task units trained on", needs_training=True),
)

CHECKPOINT = (
    MetricSpec(
        name="checkpoint_bytes",
        unit="bytes",
        direction="lower",
        window="weight files of the result",
        label="checkpoint",
        heading="file",
        group="cost",
        limit="checkpoint",
        needs_training=True,
    ),
)

MEMORY = (
    _bytes(
        name="peak_train_memory_bytes",
        window=f"CPU: live storage over {METERED}; accelerator: allocated over the training",
        label="training memory",
        heading="train mem",
        limit="memory",
        needs_training=True,
    ),
    _bytes(
        name="peak_train_reserved_bytes",
        repeats=False,
        window="accelerator: reserved over the training",
        label="training memory",
        heading="train res.",
        limit="memory",
        needs_training=True,
    ),
    _bytes(
        name="sampled_train_memory_bytes",
        repeats=False,
        window="CPU: the process's anonymous memory, sampled over the training; holds sampled_base_memory_bytes",
        needs_training=True,
    ),
)

FORGETTING = (
    MetricSpec(
        name="forgetting",
        unit="nats/token",
        direction="lower",
        window=GENERAL,
        heading="forgetting",
        limit="forgetting",
        signed=True,
        setting="task.general_tokens",
    ),
    MetricSpec(name="drift", unit="nats/token", direction="lower", window=GENERAL, heading="drift"),
    MetricSpec(name="general_loss", unit="nats/token", direction="lower", window=GENERAL),
)
"""What a task's ``Retention`` gives."""
