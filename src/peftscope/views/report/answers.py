"""What methods answered to the same examples, and on how many they differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import ExampleOutcome, RunRecord
from peftscope.views.units import metric_text

__all__ = ["answer_data", "cut", "disagreement_data", "example_score", "shown_texts"]

MOST_METHODS = 40
"""Methods of which every two are counted."""
MOST_EXAMPLES = 40
LONGEST = 1_500
"""Characters of a text; of a prompt the end is kept, next to the answer."""


def answer_data(
    records: Iterable[RunRecord], names: Mapping[str, str], order: Sequence[str], metric: MetricSpec
) -> list[dict[str, Any]]:
    """Examples whose outputs were kept, those most methods got wrong first, each with every method's answer.

    Args:
        records: Runs of any kind; of each method the first seed's is taken.
        names: Run id -> candidate, where that is not the run's title.
        order: Candidates in their order.
        metric: What the scores are.
    """
    found: dict[str, dict[str, Any]] = {}
    scores: dict[str, list[float]] = defaultdict(list)
    runs = _first_runs(records, names)
    for method in [name for name in order if name in runs]:
        record = runs[method]
        for example in record.examples:
            if example.output is None or example.draw:
                continue
            known = found.setdefault(example.example_id, {**shown_texts(example), "answers": {}})
            scores[example.example_id].append(example.score)
            known["answers"][method] = {
                "output": cut(example.output),
                "score": example_score(example, metric),
                "right": _is_right(example, metric),
                "seed": record.spec.seed,
            }
    sign = -1.0 if metric.direction == "lower" else 1.0
    worst = sorted(found.values(), key=lambda e: sign * sum(scores[e["id"]]) / len(scores[e["id"]]))
    return worst[:MOST_EXAMPLES]


def shown_texts(example: ExampleOutcome) -> dict[str, Any]:
    """What was asked and what is right, as far as a page has room."""
    return {"id": example.example_id, "prompt": cut(example.prompt, from_end=True), "target": cut(example.target)}


def cut(text: str | None, *, from_end: bool = False) -> str | None:
    """A text as far as a page has room for it."""
    if text is None or len(text) <= LONGEST:
        return text
    return f"…{text[-LONGEST:]}" if from_end else f"{text[:LONGEST]}…"


def _first_runs(records: Iterable[RunRecord], names: Mapping[str, str]) -> dict[str, RunRecord]:
    first: dict[str, RunRecord] = {}
    for record in sorted(records, key=lambda record: record.spec.seed):
        if record.spec.purpose == "final" and record.status == "ok":
            first.setdefault(names.get(record.run_id, record.spec.method.title), record)
    return first


def example_score(example: ExampleOutcome, metric: MetricSpec | None) -> str:
    """The score of an example, with what cut it short."""
    text = f"{example.score:g}" if metric is None else metric_text(metric, example.score)
    return text + (", cut off" if example.truncated else "")


def _is_right(example: ExampleOutcome, metric: MetricSpec) -> bool | None:
    """Whether an answer is right; None where there is more between right and wrong."""
    if metric.unit != "share" or example.score not in (0.0, 1.0):
        return None
    return example.score == (0.0 if metric.direction == "lower" else 1.0)


def disagreement_data(
    records: Iterable[RunRecord], names: Mapping[str, str], order: Sequence[str], metric: MetricSpec
) -> dict[str, Any]:
    """For every two methods: on how many examples either scores more, the mean over its seeds and draws."""
    means = _means(records, names)
    known = [method for method in order if method in means][:MOST_METHODS]
    sign = -1.0 if metric.direction == "lower" else 1.0
    pairs = []
    for first, second in combinations(known, 2):
        both = means[first].keys() & means[second].keys()
        gaps = [sign * (means[first][example] - means[second][example]) for example in both]
        if gaps:
            counts = {"first_better": sum(gap > 0 for gap in gaps), "second_better": sum(gap < 0 for gap in gaps)}
            pairs.append({"first": first, "second": second, **counts, "same": sum(gap == 0 for gap in gaps)})
    left_out = len(means) - len(known)
    return {"about": "Test examples, by the mean over the seeds", "pairs": pairs, "left_out": max(left_out, 0)}


def _means(records: Iterable[RunRecord], names: Mapping[str, str]) -> dict[str, dict[str, float]]:
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.spec.purpose == "final" and record.status == "ok":
            own = sums[names.get(record.run_id, record.spec.method.title)]
            for example in record.examples:
                own[example.example_id].append(example.score)
    return {
        method: {example: sum(scores) / len(scores) for example, scores in own.items()} for method, own in sums.items()
    }
