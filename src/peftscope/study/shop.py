"""The shop: every method with what it can do, what it scored, who uses it, and code to take away."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from peftscope.analysis.estimates import Estimate
from peftscope.analysis.tries import Scored, Tries, Try, tries_by_method
from peftscope.methods.adoption import adoption_lines, adoption_of
from peftscope.methods.capabilities import CAPABILITIES, GROUPS, Finding, finding, table
from peftscope.methods.card import Card, Paper
from peftscope.methods.catalog import cards
from peftscope.methods.snippets import snippets_of
from peftscope.schema.metric import MetricSpec
from peftscope.study.metrics import benchmark_score
from peftscope.study.repeated_runs import SCORE, score_sd_at_half
from peftscope.study.shop_studies import study_templates
from peftscope.upstream.published import Release, Result, published
from peftscope.views.capabilities import finding_text
from peftscope.views.report.fronts import axis_data
from peftscope.views.report.quantities import Axis, axis_of, estimate_text
from peftscope.views.units import rate_text

__all__ = ["shop_document"]

MODALITIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "text": ("texts", ("language-model", "classifier", "encoder-decoder")),
    "images": ("images", ("diffusion-transformer", "unet")),
}
"""By name: what it is called, and the capabilities of which one makes a method one for it."""


def shop_document() -> dict[str, Any]:
    """Cards of all methods, with capabilities, published scores, adoption, code, and studies to be filled in.

    Nothing in it is ranked: methods come in the order of the catalog.
    """
    measured: dict[str, _Measured] = {of.task: _Measured(of.task) for of in published().releases.values()}
    return {
        "made": table().made,
        "versions": dict(table().versions),
        "adoption": {"lines": adoption_lines()},
        "groups": [{"name": name, "title": title} for name, title in GROUPS.items()],
        "capabilities": [
            {"name": of.name, "group": of.group, "title": of.title, "about": of.about} for of in CAPABILITIES
        ],
        "families": list(dict.fromkeys(card.family for card in cards().values())),
        "modalities": [{"name": name, "label": label} for name, (label, _) in MODALITIES.items()],
        "tasks": [of.document() for of in measured.values()],
        "cards": [_card(card, measured) for card in cards().values()],
        "study": study_templates(),
    }


class _Measured:
    """What was published of a task, by method."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.releases = published().of_task(task)
        metric = benchmark_score({self.releases[-1].benchmark})
        assert metric is not None, "the benchmark has a score for each of its tasks"
        self.metric: MetricSpec = metric
        self.deviation = score_sd_at_half(task)
        self.tries = tries_by_method(
            [_scored(release) for release in self.releases],
            deviation=self.deviation,
            higher_is_better=metric.direction == "higher",
        )
        self.axis: Axis = axis_of(metric, [each.value for of in self.tries.values() for each in of.tries])

    def document(self) -> dict[str, Any]:
        """The task, and how its figures came about."""
        newest = self.releases[-1]
        return {
            "key": self.task,
            "title": newest.task_title,
            "metric": self.metric.name,
            "about": " ".join([newest.about, *self._about()]),
            "axis": axis_data(self.axis),
        }

    def _about(self) -> list[str]:
        """How to read its figures."""
        when = " and ".join(release.released for release in self.releases)
        lines = [
            f"Scores are those published on {when}, of one seed each. The mean is taken where a configuration was run "
            "more than once; a result that was published twice counts once.",
            "Configurations were chosen by whoever contributed a method, and most have one learning rate: a method "
            "that was tried more often had more chances.",
        ]
        if self.deviation is None:
            return [
                *lines,
                "No run was repeated, so that nobody knows how far luck moves them: there are no intervals.",
            ]
        return [
            *lines,
            "The intervals rest on the runs that were repeated, by which one run has a standard deviation of "
            f"{100 * self.deviation:.2g} points where it scores 50 %, and of less near 0 %. Later runs scored a little "
            "less on average, which is not corrected where a configuration was run once. They hold at 95 % for all "
            "configurations of a method together, so that they are wider where more were tried. Other seeds and other "
            "test examples scatter more.",
        ]

    def of(self, method: str) -> dict[str, Any] | None:
        """What a method scored; None where nothing was published."""
        found = self.tries.get(method)
        if found is None:
            return None
        return {
            "tries": len(found.tries),
            "text": self._text(found),
            "best": self.axis.place(found.best.value),
            "low": self.axis.place(found.best.low),
            "high": self.axis.place(found.best.high),
            "points": [self._point(each) for each in found.tries],
        }

    def _text(self, found: Tries) -> str:
        count = len(found.tries)
        head = "one configuration" if count == 1 else f"best of {count} configurations"
        tail = ", one run, no interval" if found.best.low is None else ""
        return f"{head}: {self._figure(found.best)}{tail}"

    def _point(self, each: Try) -> dict[str, Any]:
        runs = "one run" if each.num_runs == 1 else f"mean of {each.num_runs} runs"
        return {
            "experiment": each.experiment,
            "value": self.axis.place(each.value),
            "low": self.axis.place(each.low),
            "high": self.axis.place(each.high),
            "runs": each.num_runs,
            "text": f"{self._figure(each)}, {runs}{', no interval' if each.low is None else ''}",
        }

    def _figure(self, each: Try) -> str:
        return estimate_text(self.metric, Estimate(each.value, each.low, each.high))


def _scored(release: Release) -> Sequence[Scored]:
    """The scores of a release, of those runs that have one."""
    return [
        Scored(method=result.method, experiment=result.experiment, run=_run_of(result), value=value)
        for result in release.results
        if (value := _score(result)) is not None
    ]


def _score(result: Result) -> float | None:
    value = result.metrics.get(SCORE)
    return None if value is None or not math.isfinite(value) else float(value)


def _run_of(result: Result) -> str:
    """The same for two documents that are of one run."""
    return hashlib.sha256(json.dumps(result.document, sort_keys=True).encode()).hexdigest()


def _card(card: Card, measured: Mapping[str, _Measured]) -> dict[str, Any]:
    found = {of.name: finding(card.name, of.name) for of in CAPABILITIES}
    costs = [of.name for of in CAPABILITIES if of.group == "costs"]
    scores = {task: of.of(card.name) for task, of in measured.items()}
    return {
        "name": card.name,
        "title": card.title,
        "family": card.family,
        "peft_type": card.peft_type,
        "variant_of": card.variant_of,
        "summary": card.summary,
        "paper": None if card.paper is None else _paper(card.paper),
        "trains": card.trains,
        "refused": card.refused,
        "needs": list(card.needs),
        "limits": list(card.limits),
        "modalities": [name for name, (_, kinds) in MODALITIES.items() if _is_for(card, [found[of] for of in kinds])],
        "rate": _rate(card),
        "able": {name: of.value for name, of in found.items()},
        "reasons": {name: of.reason for name, of in found.items() if of.reason},
        "figures": {name: finding_text(found[name]) for name in costs if found[name].figures},
        "measured": {task: of for task, of in scores.items() if of is not None},
        "adoption": adoption_of(card.name),
        "snippets": [asdict(snippet) for snippet in snippets_of(card)],
    }


def _is_for(card: Card, kinds: Sequence[Finding]) -> bool:
    """Whether it was seen to train on one of some kinds of models; the base as it is is for all of them."""
    return any(of.value == "yes" for of in kinds) or not (card.trains or card.refused)


def _paper(paper: Paper) -> dict[str, Any]:
    address = None if paper.arxiv is None else f"https://arxiv.org/abs/{paper.arxiv}"
    return {"title": paper.title, "year": paper.year, "address": address}


def _rate(card: Card) -> str | None:
    """Where its learning rate begins, whose that is, and the range that is searched."""
    if card.rate is None:
        return None
    rate = card.rate
    source = f"{rate.source.kind}: {rate.source.where}"
    return f"{rate_text(rate.default)} ({source}); searched from {rate_text(rate.low)} to {rate_text(rate.high)}"
