"""What the figures of a study's runs are: the score's metric, and the specs of everything else in the frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from peftscope.measures.metrics import RUN_METRICS, SCORE_METRICS
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import RunRecord
from peftscope.upstream.figures import SCORES, UPSTREAM_METRICS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RETENTION", "example_count", "figure_specs", "score_spec"]

GSM8K_TEST = 1319
"""Problems of the test split the public text benchmark scores."""

GENERAL = "tokens of general text, each predicted from those before it in its paragraph; padding left out"
RETENTION: dict[str, MetricSpec] = {
    name: MetricSpec(name=name, unit="nats/token", direction="lower", window=GENERAL)
    for name in ("forgetting", "drift", "general_loss")
}
"""As the task's ``Retention`` has them; told again because importing it takes torch, and eight seconds."""

UNITS = {"accuracy": "share", "dino_similarity": "task"}


def score_spec(records: Sequence[RunRecord]) -> MetricSpec:
    """What ``test_score`` is: the task's metric, or the public benchmark's."""
    for record in records:
        if record.metric is not None:
            return record.metric
    benchmarks = {record.data.get("benchmark") for record in records if record.origin == "foreign"}
    for benchmark, name in SCORES.items():
        if benchmark in benchmarks:
            window = f"test split of the public benchmark {benchmark}"
            return MetricSpec(name=name, unit=UNITS[name], direction="higher", window=window)
    return SCORE_METRICS["test_score"]


def figure_specs(runs: pd.DataFrame) -> tuple[MetricSpec, ...]:
    """Specs of the quantities some run has, but for the score, and for those without a better side."""
    known = {**RUN_METRICS, **RETENTION, **UPSTREAM_METRICS, "truncated_share": SCORE_METRICS["truncated_share"]}
    return tuple(
        spec
        for name, spec in known.items()
        if spec.direction != "neutral" and name in runs and runs[name].notna().any()
    )


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
