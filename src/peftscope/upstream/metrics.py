"""What a result document of the public benchmark says in figures, each under the metric it really is.

A figure goes by our name only where it has our metric's window; the others have names of their own, which begin
with ``upstream_``. Windows as in the benchmark's code (``method_comparison/{MetaMathQA,image-gen}/run.py``, 2026-06):

- ``train time`` of a curve point is the sum over training steps of collating, forward, backward and optimizer: ours.
- ``train_info.train_time`` is a stopwatch from before the data is prepared until after the test split was
  scored, minus validation.
- ``accelerator_memory_max`` is memory reserved: in the text task the peak of the whole process, in the image
  task that of training.
- ``forgetting`` compared logits with the token they stand on instead of the next one, and its baseline had the
  adapter in it, both until July 2026; ``drift`` compares images.
- ``file_size`` is 99999999 where saving failed, and for full fine-tuning parameters times their size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import CurvePoint
from peftscope.upstream.experiment import WARMUP_FRACTION
from peftscope.upstream.training_params import Benchmark

__all__ = ["UPSTREAM_METRICS", "UpstreamMetrics", "number", "read_metrics"]

NO_FILE_SIZE = 99_999_999
"""What the benchmark writes where it could not save the checkpoint."""

LARGEST = 1e300

SILENT = "the result file says nothing of it"

UPSTREAM_METRICS: dict[str, MetricSpec] = {
    spec.name: spec
    for spec in (
        MetricSpec(
            name="upstream_train_time_s",
            unit="s",
            direction="lower",
            group="cost",
            protocol="cost",
            label="training time with scoring",
            limit="time",
            window="data preparation, training steps and scoring the test split; without validation",
        ),
        MetricSpec(
            name="upstream_total_time_s",
            unit="s",
            direction="lower",
            group="cost",
            protocol="cost",
            label="time of the process",
            window="the process, the baseline of forgetting or drift included",
        ),
        MetricSpec(
            name="upstream_step_time_s",
            unit="s",
            direction="lower",
            group="cost",
            protocol="cost",
            label="mean time of a step",
            heading="step",
            window="mean training step, over the steps up to the last validation",
        ),
        MetricSpec(
            name="upstream_valid_time_s",
            unit="s",
            direction="lower",
            group="cost",
            protocol="cost",
            label="validation time",
            window="all validations during training",
        ),
        MetricSpec(
            name="upstream_peak_reserved_bytes",
            unit="bytes",
            direction="lower",
            group="cost",
            protocol="cost",
            label="training memory",
            heading="peak res.",
            limit="memory",
            window="accelerator: reserved over the process, validation, test and forgetting included",
        ),
        MetricSpec(
            name="upstream_train_reserved_p99_bytes",
            unit="bytes",
            direction="lower",
            group="cost",
            protocol="cost",
            label="99th percentile of memory after a step",
            window="accelerator: reserved after a training step, 99th percentile of the steps",
        ),
        MetricSpec(
            name="upstream_train_reserved_mean_bytes",
            unit="bytes",
            direction="lower",
            group="cost",
            protocol="cost",
            label="mean memory after a step",
            window="accelerator: reserved after a training step, mean of the steps",
        ),
        MetricSpec(
            name="upstream_train_allocated_mean_bytes",
            unit="bytes",
            direction="lower",
            group="cost",
            protocol="cost",
            label="mean allocated memory after a step",
            window="accelerator: allocated after a training step, mean of the steps up to the last validation",
        ),
        MetricSpec(
            name="upstream_forgetting",
            unit="nats/token",
            direction="lower",
            label="forgetting",
            limit="forgetting",
            window="rise of the loss on Wikipedia text; before July 2026 logits were not shifted and the untrained "
            "adapter was in the baseline",
        ),
        MetricSpec(
            name="upstream_drift",
            unit="cosine distance",
            direction="lower",
            label="drift",
            window="images of unrelated prompts against the base's, by their DINOv2 embeddings",
        ),
    )
}
"""Name -> spec of what only the public benchmark measures."""

SCORES: dict[Benchmark, str] = {"MetaMathQA": "accuracy", "image-gen": "dino_similarity"}
"""What the benchmark calls its score, after ``valid`` or ``test``."""


@dataclass
class UpstreamMetrics:
    """Metrics found, the reasons for those that are not there, and the course of the training."""

    metrics: dict[str, float | int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    curve: list[CurvePoint] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scored: bool = False
    """Whether the test split was scored: the sign of a run that came to its end."""

    def put(self, name: str, value: Any, *, otherwise: str = SILENT) -> None:
        """Note a figure, or why there is none."""
        found = number(value)
        if found is not None:
            self.metrics[name] = found
        elif isinstance(value, float):
            self.missing[name] = f"came out as {value}"
        else:
            self.missing[name] = otherwise


def number(value: Any) -> float | int | None:
    """The value if it is a finite number that can be computed with, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        return None
    return value


def read_metrics(document: Mapping[str, Any], benchmark: Benchmark, train_config: Mapping[str, Any]) -> UpstreamMetrics:
    """Read a document's figures.

    Args:
        document: With ``run_info`` and ``train_info``, both mappings.
        benchmark: Which of the two benchmarks it is of.
        train_config: Its settings, checked.
    """
    found = UpstreamMetrics()
    info = document["train_info"]
    points = [p for p in info.get("metrics") or () if isinstance(p, Mapping)]
    timed = [p for p in points if number(p.get("train time")) is not None and number(p.get("step")) is not None]
    _put_scores(found, points, timed, benchmark, train_config)
    _put_times(found, document, timed, train_config)
    _put_sizes(found, info, timed, benchmark, has_adapter=document["run_info"].get("peft_config") is not None)
    found.curve = list(_curve(timed, benchmark, train_config))
    return found


def _put_scores(
    found: UpstreamMetrics,
    points: list[Mapping[str, Any]],
    timed: list[Mapping[str, Any]],
    benchmark: Benchmark,
    config: Mapping[str, Any],
) -> None:
    score = SCORES[benchmark]
    last: Mapping[str, Any] = next((p for p in reversed(points) if f"test {score}" in p), {})
    found.put("test_score", last.get(f"test {score}"))
    found.scored = "test_score" in found.metrics
    found.put("num_steps", last.get("step"))
    found.put("num_samples", last.get("train samples"))
    found.put("num_units", last.get("train total tokens"), otherwise="the benchmark counts no units in this task")
    found.put("train_loss", last.get("train loss"))
    found.put("upstream_forgetting", last.get("forgetting"))
    found.put("upstream_drift", last.get("drift"), otherwise="the benchmark measures none in this task")
    found.missing["forgetting"] = "measured in another way: see upstream_forgetting"
    found.missing["drift"] = "measured in another way, if at all: see upstream_drift"
    reached = timed[-1] if timed else {}
    ended = reached.get("step") == config["max_steps"]
    found.put(
        "valid_score",
        reached.get(f"valid {score}") if ended else None,
        otherwise=f"the last validation was after step {reached.get('step')} of {config['max_steps']}",
    )
    done = found.metrics.get("num_steps")
    if done is not None and done < config["max_steps"]:
        found.notes.append(f"trained for {done} of {config['max_steps']} steps and counted as a success")


def _put_times(
    found: UpstreamMetrics, document: Mapping[str, Any], timed: list[Mapping[str, Any]], config: Mapping[str, Any]
) -> None:
    found.put("upstream_total_time_s", document["run_info"].get("total_time"))
    found.put("upstream_train_time_s", document["train_info"].get("train_time"))
    found.missing["total_time_s"] = "measured over another window: see upstream_total_time_s"
    last = timed[-1]["step"] if timed else 0
    spent = sum(p["train time"] for p in timed)
    whole = bool(timed) and last == config["max_steps"]
    reason = f"only the first {last} of {config['max_steps']} steps were timed: see upstream_step_time_s"
    found.put("train_time_s", spent if whole else None, otherwise=reason)
    found.put("upstream_step_time_s", spent / last if last > 0 else None)
    evaluated = [p["eval time"] for p in timed if number(p.get("eval time")) is not None]
    found.put("upstream_valid_time_s", sum(evaluated) if evaluated else None)
    units = found.metrics.get("num_units")
    known = whole and units is not None and spent > 0
    reason = "needs the number of units and the time of all steps, and one is missing"
    found.put("units_per_s", units / spent if known and units is not None else None, otherwise=reason)


def _put_sizes(
    found: UpstreamMetrics,
    info: Mapping[str, Any],
    timed: list[Mapping[str, Any]],
    benchmark: Benchmark,
    *,
    has_adapter: bool,
) -> None:
    size = info.get("file_size")
    sentinel = size == NO_FILE_SIZE
    reason = f"the benchmark could not save the checkpoint and wrote {NO_FILE_SIZE} instead of a size"
    found.put("checkpoint_bytes", None if sentinel else size, otherwise=reason if sentinel else SILENT)
    if not has_adapter and "checkpoint_bytes" in found.metrics:
        found.notes.append("checkpoint_bytes is parameters times their size: the benchmark does not save full models")
    found.put("num_trainable_params", info.get("num_trainable_params"))
    found.put("num_total_params", info.get("num_total_params"))
    # 0 stands for "not logged", as no process on an accelerator reserves nothing
    found.put("upstream_train_reserved_mean_bytes", info.get("accelerator_memory_reserved_avg") or None)
    found.put("upstream_train_reserved_p99_bytes", info.get("accelerator_memory_reserved_99th") or None)
    allocated = [p["mem allocated avg"] for p in timed if number(p.get("mem allocated avg")) is not None]
    found.put("upstream_train_allocated_mean_bytes", sum(allocated) / len(allocated) if allocated else None)
    peak = info.get("accelerator_memory_max") or None
    if benchmark == "image-gen":
        found.put("peak_train_reserved_bytes", peak)
        found.missing["upstream_peak_reserved_bytes"] = "in this task the benchmark takes the peak of training"
    else:
        found.put("upstream_peak_reserved_bytes", peak)
        found.missing["peak_train_reserved_bytes"] = (
            "the benchmark's peak contains evaluation: see upstream_peak_reserved_bytes"
        )


def _curve(
    timed: list[Mapping[str, Any]], benchmark: Benchmark, train_config: Mapping[str, Any]
) -> Iterator[CurvePoint]:
    """Points with a time of their own; the last entry of a document has none, and its loss is a metric."""
    spent = 0.0
    for point in timed:
        spent += point["train time"]
        loss = number(point.get("train loss"))
        if loss is None:
            continue
        score = number(point.get(f"valid {SCORES[benchmark]}"))
        yield CurvePoint(
            step=int(point["step"]),
            learning_rate=_rate_in_step(int(point["step"]), train_config),
            train_loss=loss,
            valid_score=score,
            train_time_s=spent,
        )


def _rate_in_step(step: int, config: Mapping[str, Any]) -> float:
    """Learning rate of a step, by the benchmark's schedule: its files don't hold it."""
    peak, total = float(config["optimizer_kwargs"]["lr"]), int(config["max_steps"])
    if config.get("lr_scheduler") != "cosine":
        return peak
    warmup, done = int(WARMUP_FRACTION * total), step - 1
    if done < warmup:
        return peak * done / max(1, warmup)
    progress = (done - warmup) / max(1, total - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
