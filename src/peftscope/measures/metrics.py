"""Every quantity measured on every run, whatever the task: unit, direction and window of each."""

from __future__ import annotations

from peftscope.schema.metric import MetricSpec

__all__ = ["OF_RETENTION", "OF_TRAINING", "RUN_METRICS", "SCORE_METRICS"]

STEPS = "training steps alone: no loading, data preparation, validation, scoring or metering"
METERED = "metered steps at the longest batch, run after everything else was measured"

RUN_METRICS: dict[str, MetricSpec] = {
    spec.name: spec
    for spec in (
        MetricSpec(name="train_loss", unit="task", direction="lower", window="last stretch of the training curve"),
        MetricSpec(name="valid_loss", unit="task", direction="lower", window="validation split, after training"),
        MetricSpec(name="test_loss", unit="task", direction="lower", window="test split, after training"),
        MetricSpec(name="train_time_s", unit="s", direction="lower", repeats=False, window=STEPS),
        MetricSpec(
            name="eval_time_s", unit="s", direction="lower", repeats=False, window="scoring the test split once"
        ),
        MetricSpec(
            name="total_time_s",
            unit="s",
            direction="lower",
            repeats=False,
            window="the run, from load to last measurement; without the baseline all runs share",
        ),
        MetricSpec(name="units_per_s", unit="task units/s", direction="higher", repeats=False, window=STEPS),
        MetricSpec(name="num_steps", unit="count", direction="neutral", window="optimizer steps done"),
        MetricSpec(name="num_samples", unit="count", direction="neutral", window="samples trained on"),
        MetricSpec(name="num_units", unit="count", direction="neutral", window="task units trained on"),
        MetricSpec(name="num_trainable_params", unit="count", direction="lower", window="what the optimizer trains"),
        MetricSpec(name="num_total_params", unit="count", direction="neutral", window="base and adapter"),
        MetricSpec(name="checkpoint_bytes", unit="bytes", direction="lower", window="weight files of the result"),
        MetricSpec(
            name="base_memory_bytes",
            unit="bytes",
            direction="lower",
            window="the base's parameters and buffers",
        ),
        MetricSpec(
            name="sampled_base_memory_bytes",
            unit="bytes",
            direction="neutral",
            repeats=False,
            window="CPU: rise of the process's anonymous memory by loading the base; mapped weight files are not in it",
        ),
        MetricSpec(
            name="peak_train_memory_bytes",
            unit="bytes",
            direction="lower",
            window=f"CPU: live storage over {METERED}; accelerator: allocated over the training",
        ),
        MetricSpec(
            name="peak_eval_memory_bytes",
            unit="bytes",
            direction="lower",
            window="CPU: live storage over a metered scoring of validation; accelerator: allocated over scoring",
        ),
        MetricSpec(
            name="peak_train_reserved_bytes",
            unit="bytes",
            direction="lower",
            repeats=False,
            window="accelerator: reserved over the training",
        ),
        MetricSpec(
            name="peak_eval_reserved_bytes",
            unit="bytes",
            direction="lower",
            repeats=False,
            window="accelerator: reserved over scoring",
        ),
        MetricSpec(
            name="sampled_train_memory_bytes",
            unit="bytes",
            direction="lower",
            repeats=False,
            window="CPU: the process's anonymous memory, sampled over the training; holds sampled_base_memory_bytes",
        ),
        MetricSpec(
            name="sampled_eval_memory_bytes",
            unit="bytes",
            direction="lower",
            repeats=False,
            window="CPU: the process's anonymous memory, sampled over scoring; holds sampled_base_memory_bytes",
        ),
        *(
            MetricSpec(
                name=f"decode_latency_{form}_b{batch}_s",
                unit="s",
                direction="lower",
                repeats=False,
                window=f"median decode step at batch {batch} after warm-up, {form}",
            )
            for form in ("adapter", "merged")
            for batch in (1, 8)
        ),
    )
}
"""Name -> spec."""

SCORE_METRICS: dict[str, MetricSpec] = {
    spec.name: spec
    for spec in (
        MetricSpec(name="test_score", unit="task", direction="higher", window="mean over the test split"),
        MetricSpec(name="valid_score", unit="task", direction="higher", window="mean over the validation split"),
        MetricSpec(
            name="truncated_share",
            unit="share",
            direction="lower",
            window="test outputs that hit the length limit",
        ),
    )
}
"""Name -> spec; unit and direction are the task's own metric's where it says otherwise."""

OF_RETENTION = ("forgetting", "drift", "general_loss")
"""Metrics a task's ``Retention`` gives; its class holds their specs."""

OF_TRAINING = (
    "train_loss",
    "train_time_s",
    "units_per_s",
    "num_steps",
    "num_samples",
    "num_units",
    "checkpoint_bytes",
    "peak_train_memory_bytes",
    "peak_train_reserved_bytes",
    "sampled_train_memory_bytes",
)
"""Metrics that only a run which trains can have."""
