"""Published experiments that ran twice, and what that says of every single run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.repeated import Repeated, gap_of, num_closer, num_neighbours_turned, num_turned, repeated
from peftscope.methods.catalog import card
from peftscope.schema.metric import MetricSpec
from peftscope.study.metrics import benchmark_score, known_metrics
from peftscope.upstream.published import Release, Result, published
from peftscope.views.report.fronts import axis_data
from peftscope.views.report.quantities import axis_of, difference_text, plain
from peftscope.views.units import metric_text

__all__ = ["SCORE", "repeated_data", "score_sd_at_half", "single_run_gap"]

SCORE = "test_score"
TIME = "train_time_s"
TEST_DATA = "gsm8k"
COMPARED = (SCORE, "upstream_peak_reserved_bytes", TIME, "upstream_forgetting")
"""Metrics that are reported, in this order."""
MEASURED_ANEW = ("upstream_forgetting",)
"""Figures whose measurement was repaired between the two runs."""
SIZE = "checkpoint_bytes"
SIGNLESS = ("bytes", "s")
STANDS_OUT = 4.0
"""Standard deviations of a difference from which one pair is reported by itself."""


@dataclass(frozen=True, kw_only=True)
class _Twice:
    """Experiments with both runs, by the newest two releases of a task."""

    first: Release
    second: Release
    runs: tuple[Result, ...]
    """The first one of each experiment."""
    again: tuple[Result, ...]
    """The second one of each."""
    figures: tuple[tuple[Mapping[str, float], Mapping[str, float]], ...]
    """Of both runs of each."""

    def values(self, name: str) -> tuple[list[str], list[float], list[float]]:
        """Experiments that have a figure in both runs, and the two."""
        have = [
            (run.experiment, before[name], after[name])
            for run, (before, after) in zip(self.runs, self.figures)
            if name in before and name in after
        ]
        return [h[0] for h in have], [h[1] for h in have], [h[2] for h in have]


def score_sd_at_half(task: str = "text") -> float | None:
    """Standard deviation of one published run whose score, a share, is one half; None where nothing was run twice.

    It is taken from experiments that ran twice with the same settings and seed and newer libraries, on the scale of the
    arcsine of the share's root, where a share scatters alike wherever it lies.

    Args:
        task: ``text`` or ``images``.

    >>> round(100 * (score_sd_at_half() or 0), 1), score_sd_at_half("images")
    (1.1, None)
    """
    twice = _twice(task)
    return None if twice is None else _on_arcsine(twice).deviation


def single_run_gap(metric: str, task: str = "text") -> float | None:
    """What two published runs of one experiment differ by, or more, in 5 % of cases; None where nothing was run twice.

    Args:
        metric: Name of the metric in a record.
        task: ``text`` or ``images``.
    """
    found = _repeated(task, metric)
    return None if found is None else found.gap


def repeated_data(task: str) -> dict[str, Any] | None:
    """What the page shows of a task's repeated runs; None where no run was repeated."""
    twice = _twice(task)
    if twice is None:
        return None
    return {"lines": _lines(twice), "metrics": [_metric(task, twice, name) for name in COMPARED]}


@cache
def _twice(task: str) -> _Twice | None:
    releases = published().of_task(task)
    if len(releases) < 2:
        return None
    first, second = releases[-2:]
    before = {result.experiment: result for result in first.results}
    pairs = [
        (before[result.experiment], result)
        for result in second.results
        if result.experiment in before and before[result.experiment].document != result.document
    ]
    if not pairs:
        return None
    figures = tuple((once.metrics, again.metrics) for once, again in pairs)
    return _Twice(
        first=first,
        second=second,
        runs=tuple(once for once, _ in pairs),
        again=tuple(a for _, a in pairs),
        figures=figures,
    )


@cache
def _repeated(task: str, metric: str) -> Repeated | None:
    twice = _twice(task)
    if twice is None or metric in MEASURED_ANEW:
        return None
    _, first, second = twice.values(metric)
    return repeated(first, second) if len(first) > 2 else None


def _spec(name: str, twice: _Twice) -> MetricSpec:
    score = benchmark_score({twice.first.benchmark})
    if name == SCORE and score is not None:
        return score
    return next(spec for spec in known_metrics() if spec.name == name)


def _lines(twice: _Twice) -> list[str]:
    names, first, second = twice.values(SIZE)
    differing = [(name, a, b) for name, a, b in zip(names, first, second) if a != b]
    sizes = f"The size of the checkpoint is no matter of luck: it is equal in {len(names) - len(differing)} of "
    sizes += f"{len(names)} pairs"
    sizes += "".join(f", and differs by {abs(b - a):.0f} bytes in {name}" for name, a, b in differing)
    return [
        f"{len(twice.runs)} experiments of {twice.first.released} were run again before {twice.second.released}, with "
        "the same settings and the same seed, and with newer libraries.",
        "What two such runs differ by is luck and libraries together: an upper bound of the luck of one seed. Other "
        "seeds may scatter more, and the luck of which test examples were asked is not in it.",
        sizes + ".",
    ]


def _metric(task: str, twice: _Twice, name: str) -> dict[str, Any]:
    spec = _spec(name, twice)
    names, first, second = twice.values(name)
    axis = axis_of(spec, [*first, *second])
    found = _repeated(task, name)
    methods = {run.experiment: card(run.method).title for run in twice.runs}
    lines = _measured_anew(twice, spec, first, second) if found is None else _repetition(twice, spec, found, name)
    return {
        "name": spec.name,
        "label": spec.title,
        "axis": axis_data(axis),
        "lines": lines,
        "pairs": [
            {
                "experiment": experiment,
                "method": methods[experiment],
                "first": plain(before * axis.factor),
                "second": plain(after * axis.factor),
                "text": f"{_both(spec, before, after)}, {_signed(spec, after - before)}",
            }
            for experiment, before, after in zip(names, first, second)
        ],
        "sd": None if found is None else _with_interval(spec, found),
        "gap": None if found is None else _size(spec, found.gap),
    }


def _measured_anew(twice: _Twice, spec: MetricSpec, first: Sequence[float], second: Sequence[float]) -> list[str]:
    return [
        f"No repetition: how {spec.title} is measured was repaired between the two runs, so that nothing about luck "
        "can be read from them.",
        f"In the median it was {metric_text(spec, median(first))} on {twice.first.released} and "
        f"{metric_text(spec, median(second))} on {twice.second.released}. Only the later figures tell what was "
        "forgotten.",
    ]


def _repetition(twice: _Twice, spec: MetricSpec, found: Repeated, name: str) -> list[str]:
    names, first, second = twice.values(name)
    low, high = found.shift_interval
    shift = f"{_signed(spec, found.shift)} (95 %: {_signed(spec, low)} to {_signed(spec, high)})"
    place = found.largest
    lines = [
        f"One run has a standard deviation of {_with_interval(spec, found)}, by {found.num_pairs} pairs.",
        f"Two single runs of the same experiment differ by more than {_size(spec, found.gap)} in 5 % of cases: a "
        "smaller gap between two methods may be luck alone.",
        f"The second runs differ from the first by {shift} on average; that is not counted as luck.",
        f"The largest difference: {names[place]}, {_both(spec, first[place], second[place])}.",
    ]
    if name == SCORE:
        return [*lines, *_order(twice, found, first, second), *_by_group(twice, spec), *_in_the_middle(twice)]
    changes = [abs(b - a) / a for a, b in zip(first, second) if a]
    lines.append(f"Half of the experiments changed by less than {_percent(median(changes))}.")
    if name == TIME:
        shares = repeated(*([math.log(value) for value in values] for values in (first, second)))
        lines.append(
            "Long trainings scatter more: as a share of the time, one run has a standard deviation of "
            f"{_percent(shares.deviation)}, and the gap is {_percent(shares.gap)}."
        )
    outstanding = second[place] - first[place] - found.shift
    if abs(outstanding) > STANDS_OUT * math.sqrt(2) * found.deviation:
        others = repeated(*([v for i, v in enumerate(values) if i != place] for values in (first, second)))
        lines.append(
            f"Most of that spread is {names[place]} alone, and such a jump comes from libraries rather than luck (the "
            "interval supposes that differences follow a bell curve, which these do not): "
            f"without it one run has a standard deviation of {_size(spec, others.deviation)}, and the gap is "
            f"{_size(spec, others.gap)}."
        )
    return lines


def _order(twice: _Twice, found: Repeated, first: Sequence[float], second: Sequence[float]) -> list[str]:
    """What the gap means for a ranking."""
    count = len(first)
    close, turned = num_closer(first, found.gap), num_turned(first, second, found.gap)
    return [
        f"Of the {count * (count - 1) // 2:,} pairs of experiments of {twice.first.released}, {close} lie closer than "
        f"that; {turned} of these stood in the other order when they were run again, and "
        f"{num_turned(first, second) - turned} of all others.",
        f"Of the {count - 1} neighbours in the ranking of {twice.first.released}, "
        f"{num_neighbours_turned(first, second)} changed places.",
    ]


def _by_group(twice: _Twice, spec: MetricSpec) -> list[str]:
    """Whether the mean shift is that of some experiments, by what they first ran with; and the spread within these."""
    groups: dict[str, list[float]] = {}
    for run, again, (before, after) in zip(twice.runs, twice.again, twice.figures):
        version = run.document["meta_info"]["package_info"]["transformers-version"]
        data = "the same" if _test_data(run) == _test_data(again) else "another"
        groups.setdefault(f"transformers {version} and {data} noted revision of the test data", []).append(
            after[SCORE] - before[SCORE]
        )
    if len(groups) < 2:
        return []
    means = {name: sum(values) / len(values) for name, values in groups.items()}
    parts = [
        f"{_signed(spec, means[name])} in the {len(values)} first run with {name}" for name, values in groups.items()
    ]
    rest = sum((value - means[name]) ** 2 for name, values in groups.items() for value in values)
    within = math.sqrt(rest / (len(twice.runs) - len(groups)) / 2)
    return [
        f"The mean difference is not the same everywhere: {' and '.join(sorted(parts))}; which of the two makes it "
        "cannot be told from these runs.",
        f"Taken about the mean of each of these groups, one run has a standard deviation of {_size(spec, within)}, and "
        f"the gap is {_size(spec, gap_of(within))}.",
    ]


def _test_data(run: Result) -> Any:
    """Revision of the test data that a run has noted: the newest one there was, which may not be the one it loaded."""
    info = run.document["meta_info"].get("dataset_info") or {}
    return info.get(TEST_DATA)


def _in_the_middle(twice: _Twice) -> list[str]:
    found = _on_arcsine(twice)
    return [
        "These are means over all experiments, of which those near 0 % hardly scatter: near 50 % one run has a "
        f"standard deviation of {100 * found.deviation:.1f} points, and the gap is {100 * found.gap:.1f}."
    ]


def _on_arcsine(twice: _Twice) -> Repeated:
    """The spread of a share depends on the share: on the scale of its arcsine it does not."""
    _, first, second = twice.values(SCORE)
    return repeated(*([math.asin(math.sqrt(value)) for value in values] for values in (first, second)))


def _both(spec: MetricSpec, before: float, after: float) -> str:
    return f"{metric_text(spec, before)} → {metric_text(spec, after)}"


def _signed(spec: MetricSpec, value: float) -> str:
    if spec.unit in SIGNLESS:  # their texts choose a unit by the size, and know no sign
        return f"{'-' if value < 0 else '+' if value > 0 else ''}{metric_text(spec, abs(value))}"
    return difference_text(spec, Estimate(value, None, None))


def _size(spec: MetricSpec, value: float) -> str:
    if spec.unit == "share":
        return f"{100 * value:.2f} points" if value < 0.02 else f"{100 * value:.1f} points"
    return metric_text(spec, value)


def _with_interval(spec: MetricSpec, found: Repeated) -> str:
    low, high = found.deviation_interval
    return f"{_size(spec, found.deviation)} (95 %: {_size(spec, low)} to {_size(spec, high)})"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
