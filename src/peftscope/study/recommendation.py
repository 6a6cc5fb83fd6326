"""Which method to take, as an answer that shows itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from peftscope.analysis.front import Front, front_of
from peftscope.analysis.recommendation import Recommendation
from peftscope.analysis.recommendation import recommend as decide
from peftscope.analysis.relatives import relatives
from peftscope.analysis.verdict import Candidate
from peftscope.analysis.within_limits import Limits, metric_for, quantities_of
from peftscope.errors import SpecError
from peftscope.schema.amounts import number_of
from peftscope.schema.request import Request
from peftscope.study.at_strength import AtStrength, at_strength_topic, methods_at_strength
from peftscope.study.metrics import known_metrics
from peftscope.study.recommendation_document import document_of
from peftscope.study.requirements import Requirements
from peftscope.study.results import StudyResults, results_of, traits_by_name
from peftscope.views.choice import confirmed_lines
from peftscope.views.fairness import fairness_lines, unfinished_lines
from peftscope.views.fitted_table import FittedTable
from peftscope.views.line import one_line
from peftscope.views.recommendation import recommendation_topics
from peftscope.views.report.content import Topic
from peftscope.views.shown import Shown
from peftscope.views.table import TextTable

if TYPE_CHECKING:  # what trains is not needed for an answer
    from peftscope.study.confirmation import Confirmed
    from peftscope.views.progress.reporter import Reporter

__all__ = ["StudyRecommendation", "best_run_of", "memory_front", "recommend_from", "recommendation_for", "topics_of"]

HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")
"""Two of these would fill a line; the records hold them whole."""


@dataclass(frozen=True, kw_only=True, repr=False)
class StudyRecommendation(Shown):
    """Which method to take under the limits, what is as good, and how sure that is."""

    results: StudyResults
    recommendation: Recommendation
    front: Front | None
    """Of score against training memory; None where nobody measured it."""
    topics: tuple[Topic, ...]
    """The answer in words."""
    confirmed: Confirmed | None = None
    """What the choice came to with fresh seeds alone, where that was asked for."""
    at_strength: tuple[AtStrength, ...] = ()
    """What a limit on forgetting leaves out, at the strength that keeps it."""
    across: bool = False

    schema: ClassVar[str] = "recommend"

    @property
    def choice(self) -> str | None:
        """Name of the chosen method; None where nothing satisfies the limits."""
        return None if self.recommendation.choice is None else self.recommendation.choice.method

    @property
    def tied(self) -> tuple[str, ...]:
        """Methods that are not detectably different from the choice."""
        return tuple(tie.method for tie in self.recommendation.ties)

    @property
    def trains(self) -> bool:
        """Whether the choice is a method that is trained, and not the untouched base or nothing."""
        return self.recommendation.choice is not None and not self.recommendation.choice.is_base

    @property
    def has_problems(self) -> bool:
        """Whether nothing satisfies the limits, or runs failed or are still to do."""
        found = self.recommendation
        return found.choice is None or bool(found.failures) or bool(unfinished_lines(self.results.fairness))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out and why, what could not be read."""
        return self.results.notes

    def confirm(self, num_seeds: int, *, reporter: Reporter | None = None) -> StudyRecommendation:
        """Train the choice with fresh seeds, which neither study nor tuning used; gives it with their results.

        Args:
            num_seeds: Trainings.
            reporter: Shows how they get on; on stderr where None.

        Raises:
            SpecError: Nothing that is trained was chosen, or others ran it.
            PeftscopeError: Model or data are not as they were.
        """
        from peftscope.study.confirmation import confirm
        from peftscope.views.progress.reporter import Reporter

        choice = self.recommendation.choice
        if choice is None or choice.is_base:
            raise SpecError("recommend", ["nothing to confirm: no method that is trained was chosen"])
        confirmed = confirm(self.results, choice, num_seeds, reporter or Reporter())
        return replace(self, confirmed=confirmed)

    def confirmation(self) -> Group:
        """What the choice came to with fresh seeds alone, as it is shown."""
        return Group(*self._confirmed())

    def _content(self) -> Mapping[str, Any]:
        document = document_of(self.results, self.recommendation, self.front, self.topics)
        document["at_strength"] = [each.document() for each in self.at_strength]
        return document if self.confirmed is None else {**document, "confirmed": self.confirmed.document}

    def _parts(self) -> Iterator[RenderableType]:
        found = self.results
        heading = f"{found.name}: {found.metric.name.replace('_', ' ')}, {found.metric.window}"
        yield Text(one_line(heading), style="bold")
        for place, topic in enumerate(self.topics):
            yield Text(f"\n{one_line(topic.title)}", style="bold green" if place == 0 else "bold")
            if topic.rows:
                yield Padding(_table(topic), (0, 0, 0, 2), expand=False)
            yield from _indented(topic.lines)
        yield from _section("How equally they were treated", fairness_lines(found.fairness))
        if found.differing:
            how = "Ranked across different conditions, as asked"
            how = how if self.across else "Different conditions, not ranked together"
            yield from _section(how, [HASH.sub(r"\1…", line) for line in found.differing])
        yield from self._confirmed()

    def _confirmed(self) -> Iterator[RenderableType]:
        if self.confirmed is not None:
            fresh = self.confirmed
            lines = confirmed_lines(self.results.metric, fresh.choice, fresh.fresh, fresh.seeds)
            yield from _section("With fresh seeds alone", lines)


def recommend_from(
    place: Path, requirements: Requirements, request: Request, *, across: bool = False
) -> StudyRecommendation:
    """Recommend a method of a study.

    Args:
        place: The study's folder or file.
        requirements: What the choice has to keep, and what is preferred.
        request: Collects what is wrong with them.
        across: Whether to judge runs of different conditions together.

    Raises:
        SpecError: A requirement cannot be read; there is no such study, or nothing of it has ended.
        StoreError: No record can be read.
    """
    margin = request.amount("margin", requirements.margin, number_of)
    limits, prefer, have = requirements.limits(request), requirements.preferences(request), requirements.method(request)
    request.end()
    found = results_of(place, margin=margin, across=across)
    requirements.check_score(limits, found.metric, request)
    recommendation = recommendation_for(found, have=have, limits=limits, prefer=prefer)
    front = memory_front(found)
    topics = topics_of(found, recommendation, front, found.folder)
    at_strength = methods_at_strength(found, recommendation)
    topic = at_strength_topic(at_strength, found.metric, str(found.folder))
    topics[1:1] = [] if topic is None else [topic]
    unfinished = unfinished_lines(found.fairness)
    if unfinished:
        topics.append(Topic(title="Not judged, for want of a final run", lines=unfinished))
    return StudyRecommendation(
        results=found,
        recommendation=recommendation,
        front=front,
        topics=tuple(topics),
        at_strength=at_strength,
        across=across,
    )


def recommendation_for(
    found: StudyResults, *, have: str, limits: Limits | None = None, prefer: Sequence[str] = ("score",)
) -> Recommendation:
    """The recommendation on what was found, with relatives of what the user has."""
    names = dict(zip(found.runs["run_id"], found.runs["method"]))
    finals = [record for record in found.records if record.run_id in names and record.status == "ok"]
    traits = traits_by_name()
    recommendation = decide(found.verdict, metrics=known_metrics(), limits=limits, prefer=prefer, traits=traits)
    records = {names[record.run_id]: record for record in finals}
    return replace(recommendation, relatives=relatives(recommendation, have, traits=traits, records=records))


def topics_of(
    found: StudyResults, recommendation: Recommendation, front: Front | None, folder: Path = Path()
) -> list[Topic]:
    """The recommendation in words, with the adapter to take.

    Args:
        found: What it rests on.
        recommendation: The recommendation.
        front: The Pareto front of the score against a cost; None where nobody measured that cost.
        folder: What adapters are told to lie in; nothing, where the text leaves this machine.
    """
    first, *rest = recommendation_topics(recommendation, front, known_metrics())
    return [replace(first, lines=[*first.lines, *_adapter_lines(found, recommendation.choice, folder)]), *rest]


def _adapter_lines(found: StudyResults, choice: Candidate | None, folder: Path) -> list[str]:
    """Where the trained weights of the choice lie, and which seed's to take."""
    if choice is None or choice.is_base:
        return []
    run_id, seeds = best_run_of(found, choice.method)
    if run_id is None or not (found.folder / "adapters" / run_id).is_dir():
        return []  # others ran it, or its weights were taken away
    own = next(record for record in found.records if record.run_id == run_id)
    which = f"seed {own.spec.seed}, the best of {seeds} on validation" if seeds > 1 else "its only seed"
    return [f"Its weights ({which}): {folder / 'adapters' / run_id}"]


def best_run_of(found: StudyResults, method: str) -> tuple[str | None, int]:
    """Id of a method's final run with the best validation loss, so that no test score picks it; and of how many."""
    runs = found.runs
    own = runs[(runs["method"] == method) & (runs["status"] == "ok")]
    by = "valid_loss" if "valid_loss" in own and own["valid_loss"].notna().any() else "seed"
    return (None if own.empty else str(own.sort_values(by)["run_id"].iloc[0])), len(own)


def memory_front(found: StudyResults) -> Front | None:
    """The front of the score against training memory; None where nobody measured it."""
    name = metric_for(quantities_of(known_metrics()).get("memory", ()), found.verdict.candidates)
    spec = next((metric for metric in found.metrics if metric.name == name), None)
    return front_of(found.verdict, (found.metric, spec)) if spec is not None else None


def _table(topic: Topic) -> FittedTable:
    headings, *cells = topic.rows
    return FittedTable(TextTable(title=topic.title, headings=headings, cells=cells, sentences=("why",)))


def _section(title: str, lines: Sequence[str]) -> Iterator[RenderableType]:
    yield Text(f"\n{title}", style="bold")
    yield from _indented(lines)


def _indented(lines: Sequence[str]) -> Iterator[RenderableType]:
    for line in lines:
        style = "yellow" if line.startswith("WARNING") else ""
        yield Padding(Text(one_line(line), style=style), (0, 0, 0, 2), expand=False)
