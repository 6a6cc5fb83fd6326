"""Metrics of answers by name, and what they are where a study takes several. No torch here."""

from __future__ import annotations

from peftscope.schema.metric import MetricSpec

__all__ = ["ALONE", "ALSO", "METRICS", "also_name"]

METRICS = (
    "exact_match",
    "normalized_match",
    "contains",
    "numeric",
    "regex",
    "macro_f1",
    "token_f1",
    "json",
    "rouge_l",
    "chrf",
    "bleu",
    "code",
    "loss",
)
"""Metrics of answers, by name."""
ALONE = ("loss", "code")
"""Metrics that go with no other: nothing is answered, or the answer is not compared with a target."""


def also_name(metric: str) -> str:
    """What a record calls a metric that is taken beside the study's own.

    >>> also_name("token_f1")
    'test_token_f1'
    """
    return f"test_{metric}"


ALSO = tuple(
    MetricSpec(
        name=also_name(metric),
        unit="share",
        direction="higher",
        window=f"{metric} of the test split's answers, beside the study's own metric",
        heading=metric.replace("_", " "),
        on_request=True,
    )
    for metric in METRICS
    if metric not in ALONE
)
"""Metrics a task can take beside its own."""
