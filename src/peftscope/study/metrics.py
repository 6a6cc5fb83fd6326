"""What the figures of a study's runs are: the score's metric, and the specs of everything else in the frame."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from peftscope.measures.registry import metric_specs
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import RunRecord
from peftscope.tasks.registry import unit_of
from peftscope.upstream.metrics import SCORES, UPSTREAM_METRICS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["benchmark_score", "example_count", "known_metrics", "measured_specs", "score_spec", "specs_for"]

GSM8K_TEST = 1319
"""Problems of the test split the public text benchmark scores."""

TASK_UNITS = "task units"

OF_SCORE = ("test_score", "valid_score")
"""The score itself, which is told of by itself."""

UNITS = {"accuracy": "share", "dino_similarity": "task"}
LABELS = {"dino_similarity": "DINO similarity"}


def score_spec(records: Sequence[RunRecord]) -> MetricSpec:
    """What ``test_score`` is: the task's metric, or the public benchmark's."""
    for record in records:
        if record.metric is not None:
            return record.metric
    benchmarks = {record.data.get("benchmark") for record in records if record.origin == "foreign"}
    return benchmark_score(benchmarks) or metric_specs()["test_score"]


def benchmark_score(benchmarks: Collection[str | None]) -> MetricSpec | None:
    """What the public benchmark's score is; None where none of these is one of its."""
    for benchmark, name in SCORES.items():
        if benchmark in benchmarks:
            window = f"test split of the public benchmark {benchmark}"
            return MetricSpec(
                name=name, label=LABELS.get(name, ""), unit=UNITS[name], direction="higher", window=window
            )
    return None


def known_metrics() -> tuple[MetricSpec, ...]:
    """Everything a record can have a value of, whoever measured it."""
    return (*metric_specs().values(), *UPSTREAM_METRICS.values())


def measured_specs(runs: pd.DataFrame) -> tuple[MetricSpec, ...]:
    """Specs of the quantities some run has, but for the score, and for those without a better side."""
    return tuple(
        spec
        for spec in specs_for(runs["task"])
        if spec.direction != "neutral"
        and spec.name not in OF_SCORE
        and spec.name in runs
        and runs[spec.name].notna().any()
    )


def specs_for(tasks: Iterable[str]) -> list[MetricSpec]:
    """Everything a record of these tasks can have a value of, with what the task counts in the place of units."""
    names = set(tasks)
    unit = unit_of(names.pop()) if len(names) == 1 else "units"
    return [
        spec.model_copy(update={"unit": spec.unit.replace(TASK_UNITS, unit)}) if TASK_UNITS in spec.unit else spec
        for spec in known_metrics()
    ]


def example_count(records: Sequence[RunRecord]) -> int | None:
    """Test examples behind the scores of imported results, where the scores show it; None where they do not.

    The public text benchmark says nowhere how many there are; its accuracies are whole numbers of 1,319 ths.
    """
    scores = [r.metrics.get("test_score") for r in records if r.origin == "foreign" and r.status == "ok"]
    of_text = [r.data.get("benchmark") == "MetaMathQA" for r in records if r.origin == "foreign"]
    if not scores or not all(of_text):
        return None
    whole = all(s is not None and abs(s * GSM8K_TEST - round(s * GSM8K_TEST)) < 1e-6 for s in scores)
    return GSM8K_TEST if whole else None
