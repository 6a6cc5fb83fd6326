"""What became of the public benchmark's figures from one release to the next: fronts, and runs that were repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from peftscope.analysis.front import Front
from peftscope.methods.catalog import card
from peftscope.schema.metric import MetricSpec
from peftscope.study.published import PREFIX, published_key
from peftscope.study.recommendation import memory_front
from peftscope.study.repeated_runs import SCORE, repeated_data, single_run_gap
from peftscope.study.results import results_of
from peftscope.upstream.published import Release, published
from peftscope.views.report.fronts import axis_data
from peftscope.views.report.quantities import Axis, axis_of
from peftscope.views.units import metric_text

__all__ = ["releases_document"]


@dataclass(frozen=True, kw_only=True)
class _Front:
    """The front of one release."""

    release: Release
    front: Front
    num_alike: int
    """Experiments under the commonest conditions."""

    @property
    def place(self) -> str:
        return PREFIX + self.release.key

    @property
    def score(self) -> MetricSpec:
        return self.front.metrics[0]

    @property
    def memory(self) -> MetricSpec:
        return self.front.metrics[1]

    def figures(self, experiment: str) -> tuple[float, float] | None:
        """Memory and score."""
        point = self.front.points.get(experiment)
        return None if point is None else (point[1], point[0])


def releases_document() -> dict[str, Any]:
    """Every task with its releases, their fronts of score against training memory, and what was run twice.

    Takes seconds: each release is judged, with all its experiments on one front as the benchmark shows them.

    Raises:
        StoreError: The published results can be written nowhere.
    """
    found = published()
    tasks = list(dict.fromkeys(release.task for release in found.releases.values()))
    source = found.source
    return {
        "tasks": [_task(task) for task in tasks],
        "source": {
            "name": source.name,
            "license": source.license,
            "address_text": source.address,
            "lines": list(source.lines),
        },
    }


def _task(task: str) -> dict[str, Any]:
    fronts = [_front(release) for release in published().of_task(task)]
    again = repeated_data(task)
    newest = fronts[-1].release
    about = [newest.about]
    if again is None:
        about.append("No run was repeated from one release to the next, so nothing is known of what luck does here.")
    return {
        "key": task,
        "title": newest.task_title,
        "about": about,
        "releases": [
            {
                "key": each.release.date,
                "study": published_key(each.place),
                "title": each.release.released,
                "lines": list(each.release.lines),
            }
            for each in fronts
        ],
        "fronts": _fronts_data(task, fronts),
        "repeated": again,
    }


def _front(release: Release) -> _Front:
    found = results_of(Path(PREFIX + release.key), across=True)
    front = memory_front(found)
    assert front is not None, "each of the benchmark's documents has a peak of memory"
    groups = Counter(record.quality_protocol for record in found.records)
    return _Front(release=release, front=front, num_alike=max(groups.values()))


def _fronts_data(task: str, fronts: Sequence[_Front]) -> dict[str, Any]:
    newest = fronts[-1]
    x, y = (
        axis_of(metric, [point[place] for each in fronts for point in each.front.points.values()])
        for place, metric in ((1, newest.memory), (0, newest.score))
    )
    methods = _methods(fronts)
    members = {name for each in fronts for name in each.front.members}
    return {
        "title": f"{y.label[:1].upper()}{y.label[1:]} against {x.label}",
        "x": x.title,
        "y": y.title,
        "lines": _lines(task, fronts),
        "rows": [_row(name, methods[name], fronts) for name in sorted(members, key=lambda n: _least(n, fronts))],
        "points": {each.release.date: _points(each, methods, x, y) for each in fronts},
        "axes": {"x": axis_data(x), "y": axis_data(y)},
    }


def _methods(fronts: Sequence[_Front]) -> dict[str, str]:
    """Experiment -> method's title."""
    return {r.experiment: card(r.method).title for each in fronts for r in each.release.results}


def _least(experiment: str, fronts: Sequence[_Front]) -> float:
    return min(figures[0] for each in fronts if (figures := each.figures(experiment)) is not None)


def _row(experiment: str, method: str, fronts: Sequence[_Front]) -> dict[str, Any]:
    figures: dict[str, dict[str, str] | None] = {}
    for each in fronts:
        found = each.figures(experiment)
        texts = None if found is None else [metric_text(m, v) for m, v in zip((each.memory, each.score), found)]
        figures[each.release.date] = None if texts is None else {"x": texts[0], "y": texts[1]}
    return {
        "experiment": experiment,
        "method": method,
        "in": {each.release.date: experiment in each.front.members for each in fronts},
        "figures": figures,
    }


def _points(each: _Front, methods: dict[str, str], x: Axis, y: Axis) -> list[dict[str, Any]]:
    return [
        {
            "experiment": experiment,
            "method": methods[experiment],
            "x": x.place(memory),
            "y": y.place(score),
            "member": experiment in each.front.members,
        }
        for experiment, (score, memory) in each.front.points.items()
    ]


def _lines(task: str, fronts: Sequence[_Front]) -> list[str]:
    """The fronts in words, with what luck could change in them."""
    newest, methods = fronts[-1], _methods(fronts)
    lines = [
        "An experiment is on the front if no other beats it: none has a better score with no more memory, or less "
        f"memory with no worse score. Memory is the {newest.memory.title}: {newest.memory.window}."
    ]
    gap = single_run_gap(SCORE, task)
    for each in fronts:
        members = each.front.members
        named = ", ".join(_called(name, members, methods) for name in members)
        number = f"{len(members)} of {len(each.front.points)}"
        lines.append(f"{each.release.released}: {number} experiments are on the front: {named}.")
        if gap is not None:
            scores = [each.front.points[name][0] for name in members]
            steps = sum(abs(a - b) < gap for a, b in pairwise(scores))
            lines.append(
                f"{steps} of the {len(members) - 1} steps along it are smaller in {each.score.title} than "
                f"{100 * gap:.1f} points, which is what two runs of one experiment can differ by."
            )
    for before, after in pairwise(fronts):
        lines += _changes(before, after, methods)
    return lines + [line for each in fronts for line in _conditions(each)]


def _changes(before: _Front, after: _Front, methods: dict[str, str]) -> list[str]:
    """Who came and who went, with the figures that made it."""
    old, new = before.front.members, after.front.members
    if set(old) == set(new):
        return [f"The front of {after.release.released} has the members of that of {before.release.released}."]
    lines, since = [], f"From {before.release.released} to {after.release.released}"
    for word, names in (("came", [n for n in new if n not in old]), ("went", [n for n in old if n not in new])):
        for name in names:
            figures = "; ".join(
                f"{_figures_text(each, name)} on {each.release.released}"
                for each in (before, after)
                if each.figures(name) is not None
            )
            lines.append(f"{since} {methods[name]} ({name}) {word}: {figures}.")
    return lines


def _figures_text(each: _Front, experiment: str) -> str:
    figures = each.figures(experiment)
    assert figures is not None, "asked for those alone that have some"
    return f"{metric_text(each.score, figures[1])} with {metric_text(each.memory, figures[0])}"


def _conditions(each: _Front) -> list[str]:
    others = len(each.release.results) - each.num_alike
    if not others:
        return []
    are = "1 experiment of it was" if others == 1 else f"{others} experiments of it were"
    return [
        f"{each.release.released}: {are} run under other conditions than the {each.num_alike} alike (settings, or the "
        "revision of the data that was noted). They stand on one front here, as in the benchmark; the study of that "
        "release judges those alike."
    ]


def _called(name: str, members: Sequence[str], methods: dict[str, str]) -> str:
    """The method's title, with the experiment where two of one method are there."""
    title = methods[name]
    return f"{title} ({name})" if sum(methods[other] == title for other in members) > 1 else title
