"""A study as one page, its main plots as pictures, its tables as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.analysis.front import Front, front_of
from peftscope.analysis.verdict import Verdict
from peftscope.schema.amounts import number_of
from peftscope.schema.metric import MetricSpec
from peftscope.schema.request import Request
from peftscope.study.recommendation import memory_front, recommendation_for, topics_of
from peftscope.study.requirements import Amount, commonest_method
from peftscope.study.results import StudyResults, results_of
from peftscope.views.report.content import ReportContent, Topic
from peftscope.views.report.fairness import fairness_topics
from peftscope.views.report.files import write_report
from peftscope.views.report.samples import picture_tables
from peftscope.views.shown import Shown

__all__ = ["Report", "report_of"]

FOLDER = "report"
PAGE = "report"
DRAWS, FEWEST_DRAWS, COMPARISONS = 10_000, 1_000, 4_000_000
"""Draws behind a probability: as many as a page of a hundred fronts can wait for."""
NOT_AXES = ("sampled_", "base_memory", "valid_loss", "train_loss", "general_loss")
"""What no one chooses a method by: checks on other metrics, and metrics of what is not compared."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Report(Shown):
    """Files that were written."""

    page: Path
    """Works offline, in any browser."""
    files: Mapping[str, Path]
    """All of them, by what they are."""
    warnings: tuple[str, ...]
    """What was left out and why."""

    schema: ClassVar[str] = "report"

    def _content(self) -> Mapping[str, Any]:
        return {"page": str(self.page.resolve()), "files": {name: str(path) for name, path in self.files.items()}}

    def _parts(self) -> Iterator[RenderableType]:
        names: dict[str, list[str]] = {}
        for name, path in self.files.items():
            if name != PAGE:
                names.setdefault(path.stem, []).append(path.suffix.removeprefix("."))
        listed = ", ".join(f"{stem}.{'/'.join(kinds)}" for stem, kinds in names.items())  # pictures of two kinds in one
        yield Text(f"wrote {self.page}, and beside it {listed}")

    def _repr_html_(self) -> str:
        return f'<a href="{self.page.as_posix()}" target="_blank">{self.page}</a>'


def report_of(
    place: Path, folder: Path | None, request: Request, *, margin: Amount | None = None, across: bool = False
) -> Report:
    """Write the report of a study.

    Args:
        place: The study's folder or file.
        folder: For the files; ``report`` in the study's where None.
        request: Collects what is wrong with the margin.
        margin: Difference of scores that does not matter.
        across: Whether to judge runs of different conditions together.

    Raises:
        SpecError: There is no such study, or nothing of it has ended.
        StoreError: A record cannot be read, or the folder is not writable.
    """
    width = request.amount("margin", margin, number_of)
    request.end()
    found = results_of(place, margin=width, across=across)
    files = write_report(_material(found, place), folder or found.folder / FOLDER)
    return Report(page=files[PAGE], files=files, warnings=found.notes)


def _material(found: StudyResults, place: Path) -> ReportContent:
    titles: dict[str, str] = dict(zip(found.runs["run_id"], found.runs["method"]))
    metrics = [found.metric, *(m for m in found.metrics if not m.name.startswith(NOT_AXES))]
    return ReportContent(
        name=found.name,
        place=_public(place),
        records=found.records,
        verdict=found.verdict,
        metrics=metrics,
        names=titles,
        fronts=_fronts(found.verdict, metrics),
        tunings=found.tunings,
        pictures=picture_tables(
            (record for record in found.records if record.spec.purpose == "final"), titles, found.folder
        ),
        recommendation=_recommendation(found),
        warnings=[difference.text for difference in found.fairness.differences],
        fairness=fairness_topics(found.fairness),
        conditions=found.differing,
        notes=found.notes,
    )


def _public(place: Path) -> str:
    """The study's place for commands on the page: as seen from here, where it lies below; no path of this machine."""
    here = Path.cwd()
    return str(place.absolute().relative_to(here)) if place.absolute().is_relative_to(here) else place.name


def _recommendation(found: StudyResults) -> list[Topic]:
    """What 'peftscope recommend' says without limits."""
    recommendation = recommendation_for(found, have=commonest_method())
    return topics_of(found, recommendation, memory_front(found))


def _fronts(verdict: Verdict, metrics: Sequence[MetricSpec]) -> list[Front]:
    """One for every two metrics that some candidate has both of."""
    count = max(len(verdict.candidates), 1)
    spread = bool(verdict.standard_errors) or any(f.deviation for c in verdict.candidates for f in c.metrics.values())
    draws = min(DRAWS, max(FEWEST_DRAWS, COMPARISONS // count**2)) if spread else 1
    fronts = [front_of(verdict, pair, draws=draws) for pair in combinations(metrics, 2)]
    return [front for front in fronts if front.points]
