"""A study as one page, its main plots as pictures, its tables as files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.analysis.front import Front, front_of
from peftscope.analysis.verdict import Verdict
from peftscope.execution.known_check import check_notes
from peftscope.schema.amounts import number_of
from peftscope.schema.metric import MetricSpec
from peftscope.schema.request import Request
from peftscope.study.choices import choices_of
from peftscope.study.folder import RESULTS
from peftscope.study.published import is_published, published_key, published_lines
from peftscope.study.recommendation import best_run_of, memory_front, recommendation_for, topics_of
from peftscope.study.requirements import Amount, commonest_method
from peftscope.study.results import StudyResults, results_of, traits_by_name
from peftscope.study.run_documents import run_document, runs_document
from peftscope.views.report.content import ReportContent
from peftscope.views.report.fairness import fairness_topics
from peftscope.views.report.files import write_report
from peftscope.views.report.samples import picture_tables
from peftscope.views.shown import Shown
from peftscope.views.suspicions import suspicion_lines

__all__ = ["Report", "material", "public_place", "report_of"]

FOLDER = "report"
PAGE = "report"
RUN_BYTES, SMALLEST_BYTES = 600_000, 2_000
"""Of runs on the page, each with its settings, curve and answers; final runs come first."""
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
        folder: For the files; ``report`` in the study's where None, of published results in ``results``.
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
    public = public_place(place)
    options = (f" --margin {shlex.quote(str(margin))}" if margin is not None else "") + (" --across" if across else "")
    content = replace(material(found, public), options=options)
    files = write_report(
        content, folder or _own_folder(place, found) / FOLDER, runs=_runs(found, public, content.names)
    )
    return Report(page=files[PAGE], files=files, warnings=found.notes)


def _own_folder(place: Path, found: StudyResults) -> Path:
    """Where a study's files lie: not in the cache, from which published results are read."""
    return RESULTS / published_key(place) if is_published(place) else found.folder


def _runs(found: StudyResults, place: str, names: Mapping[str, str]) -> dict[str, Any]:
    """All runs as rows, and as many whole ones as the page has room for."""
    documents = {"runs": runs_document(found.folder, name=found.name, place=place)}
    room = RUN_BYTES
    for record in sorted(found.records, key=lambda r: (r.spec.purpose != "final", r.status == "eliminated", r.run_id)):
        details = run_document(record, found.folder, Path(place), name=names.get(record.run_id), with_pictures=False)
        size = len(json.dumps(details))
        if size <= room:
            documents[f"run/{record.run_id}"] = details
            room -= size
        if room < SMALLEST_BYTES:
            break
    return documents


def material(found: StudyResults, place: str) -> ReportContent:
    """Everything a page shows of a study.

    Args:
        found: What it came to.
        place: Of the study, as commands on the page name it.
    """
    titles: dict[str, str] = dict(zip(found.runs["run_id"], found.runs["method"]))
    metrics = [found.metric, *(m for m in found.metrics if not m.name.startswith(NOT_AXES))]
    recommendation = recommendation_for(found, have=commonest_method())
    where = place if is_published(place) else public_place(found.folder)
    return ReportContent(
        name=found.name,
        place=place,
        records=found.records,
        verdict=found.verdict,
        metrics=metrics,
        names=titles,
        fronts=_fronts(found.verdict, metrics),
        tunings=found.tunings,
        pictures=picture_tables(
            (record for record in found.records if record.spec.purpose == "final"), titles, found.folder
        ),
        recommendation=topics_of(found, recommendation, memory_front(found), Path(where)),
        warnings=[difference.text for difference in found.fairness.differences],
        suspicions=suspicion_lines(recommendation.suspicions),
        data_notes=check_notes(found.folder),
        traits=traits_by_name(),
        adapters=_adapters(found, where),
        choices=choices_of(found, Path(where)),
        fairness=fairness_topics(found.fairness),
        conditions=found.differing,
        notes=[*published_lines(place), *found.notes],
    )


def public_place(place: Path) -> str:
    """A place for texts that leave this machine: as seen from here, where it lies below; no path of this machine."""
    here = Path.cwd()
    return str(place.absolute().relative_to(here)) if place.absolute().is_relative_to(here) else place.name


def _adapters(found: StudyResults, where: str) -> dict[str, str]:
    """Candidate -> folder of the weights of its best run, of those whose weights are there."""
    best = {c.method: best_run_of(found, c.method)[0] for c in found.verdict.candidates if not c.is_base}
    return {
        method: f"{where}/adapters/{run_id}"
        for method, run_id in best.items()
        if run_id is not None and (found.folder / "adapters" / run_id).is_dir()
    }


def _fronts(verdict: Verdict, metrics: Sequence[MetricSpec]) -> list[Front]:
    """One for every two metrics that some candidate has both of."""
    fronts = [front_of(verdict, pair) for pair in combinations(metrics, 2)]
    return [front for front in fronts if front.points]
