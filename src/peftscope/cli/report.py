"""``peftscope report``: a study as one page, its main figures as pictures, its tables as files."""

from __future__ import annotations

import webbrowser
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from peftscope.cli import options
from peftscope.cli.amounts import number_of
from peftscope.cli.output import print_json
from peftscope.cli.recommend import answer, memory_front
from peftscope.errors import SpecError

if TYPE_CHECKING:
    from peftscope.analysis.front import Front
    from peftscope.analysis.verdict import Verdict
    from peftscope.cli.findings import Findings
    from peftscope.schema.metric import MetricSpec
    from peftscope.views.report.material import Material, Topic

__all__ = ["report"]

FOLDER = "report"
PAGE = "report"
DRAWS, FEWEST_DRAWS, COMPARISONS = 10_000, 1_000, 4_000_000
"""Draws behind a probability: as many as a page of a hundred fronts can wait for."""
NOT_AXES = ("sampled_", "base_memory", "valid_loss", "train_loss", "general_loss")
"""What no one chooses a technique by: checks on other figures, and figures of what is not compared."""


def report(
    study: Annotated[Path, typer.Argument(help="A study.yaml, or a folder of results.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the files; report in the study's by default.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    margin: Annotated[
        str | None, typer.Option(help="Difference of scores that does not matter; 0.02 of a share by default.")
    ] = None,
    across: options.Across = False,
    json_output: options.Json = False,
) -> None:
    """Write a study's report: one page that works offline, its figures as pictures, its tables as files."""
    width = None if margin is None else _margin(margin)
    # Imported late: what computes and what draws takes seconds to import.
    from peftscope.cli.findings import findings_of
    from peftscope.views.report.files import write_report

    with Console(stderr=True).status("computing and drawing"):
        found = findings_of(study, margin=width, across=across)
        files = write_report(_material(found, study), out or found.folder / FOLDER)
    page = files[PAGE].resolve()
    if json_output:
        print_json("report", {"page": str(page), "files": {name: str(path) for name, path in files.items()}})
    else:
        typer.echo(f"wrote {files[PAGE]}, and beside it {_listed(files)}")
        for line in found.notes:
            typer.echo(f"note: {line}", err=True)
    if open_page and not webbrowser.open(page.as_uri()):
        typer.echo(f"note: no browser could be opened; the page is {page}", err=True)


def _margin(text: str) -> float:
    try:
        return number_of(text)
    except ValueError as error:
        raise SpecError("report", [f"--margin: {error}"]) from None


def _listed(files: dict[str, Path]) -> str:
    """Names of the files beside the page, pictures of two kinds in one."""
    names: dict[str, list[str]] = {}
    for name, path in files.items():
        if name != PAGE:
            names.setdefault(path.stem, []).append(path.suffix.removeprefix("."))
    return ", ".join(f"{stem}.{'/'.join(kinds)}" for stem, kinds in names.items())


def _material(found: Findings, study: Path) -> Material:
    from peftscope.views.report.material import Material
    from peftscope.views.report.treatment import fairness_topics

    metrics = [found.metric, *(m for m in found.metrics if not m.name.startswith(NOT_AXES))]
    return Material(
        name=found.name,
        place=str(study),
        records=found.records,
        verdict=found.verdict,
        metrics=metrics,
        names=dict(zip(found.runs["run_id"], found.runs["method"])),
        fronts=_fronts(found.verdict, metrics),
        tunings=found.tunings,
        recommendation=_recommendation(found),
        warnings=[difference.text for difference in found.fairness.differences],
        fairness=fairness_topics(found.fairness),
        conditions=found.differing,
        notes=found.notes,
    )


def _recommendation(found: Findings) -> list[Topic]:
    """What 'peftscope recommend' says without limits."""
    from peftscope.views.recommendation import recommendation_topics

    return recommendation_topics(answer(found), memory_front(found), found.metrics)


def _fronts(verdict: Verdict, metrics: list[MetricSpec]) -> list[Front]:
    """One for every two metrics that some candidate has both of."""
    from peftscope.analysis.front import front_of

    count = max(len(verdict.candidates), 1)
    spread = bool(verdict.standard_errors) or any(f.deviation for c in verdict.candidates for f in c.figures.values())
    draws = min(DRAWS, max(FEWEST_DRAWS, COMPARISONS // count**2)) if spread else 1
    fronts = [front_of(verdict, pair, draws=draws) for pair in combinations(metrics, 2)]
    return [front for front in fronts if front.points]
