"""What runs came to: the tables that ``compare`` ends with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.analysis.fairness import Fairness, fairness, listed
from peftscope.analysis.protocols import protocol_differences
from peftscope.analysis.rate_source import with_rate_source
from peftscope.analysis.summary import summarise
from peftscope.analysis.tuning import Tuning
from peftscope.methods.catalog import BASE
from peftscope.schema.elimination import Elimination, runs_of
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import RunRecord
from peftscope.schema.study import StudySpec
from peftscope.store.frame import examples_of, frame_of
from peftscope.store.race import race_looks
from peftscope.study.metrics import known_metrics
from peftscope.study.recommendation_document import fairness_document
from peftscope.study.results import traits_by_name
from peftscope.tuning.progress import study_progress
from peftscope.views.comparison import comparison_parts, fairness_parts, interval_text
from peftscope.views.eliminated import eliminated_lines, eliminations_document
from peftscope.views.shown import Shown, unbroken

__all__ = ["Comparison", "comparison_of"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison(Shown):
    """What runs came to."""

    command: str
    """``compare`` for a study, ``run`` for one experiment."""
    title: str
    folder: Path
    """Where the records and adapters lie."""
    records: tuple[RunRecord, ...]
    """Every run, trials and failures among them."""
    metric: MetricSpec
    """The task's score."""
    summary: tuple[Mapping[str, Any], ...]
    """One row per method and learning rate: score with interval, gain over the base, costs, failures."""
    conditions: tuple[str, ...]
    """What differs between the conditions of the final runs."""
    fairness: Fairness | None = None
    """How equally the methods of a study were treated; None for one experiment."""
    tunings: tuple[Tuning, ...] = ()
    eliminations: tuple[Elimination, ...] = ()
    """Methods that the race of a study ended; their remaining runs were not started."""
    across: bool = False
    """Whether different conditions were ranked together."""

    schema: ClassVar[str] = ""

    @property
    def has_failures(self) -> bool:
        """Whether a final run failed or a method was left without one."""
        left_out = [] if self.fairness is None else [share for share in self.fairness.shares if not share.seeds]
        return bool(left_out) or any(record.status != "ok" for record in self.finals)

    @property
    def finals(self) -> list[RunRecord]:
        """Records of final runs."""
        return [record for record in self.records if record.spec.purpose == "final"]

    @property
    def warnings(self) -> list[str]:
        """What the runs warned of, each once; with its methods where not all runs warned of it."""
        num_methods = len({record.spec.method.title for record in self.records})
        methods: dict[str, list[str]] = {}
        for record in self.records:
            for warning in record.warnings:
                methods.setdefault(warning, []).append(record.spec.method.title)
        return [_with_methods(warning, list(dict.fromkeys(of)), num_methods) for warning, of in methods.items()]

    def document(self) -> dict[str, Any]:
        """Records without curves and examples, the summary, and how equally methods were treated."""
        return {**super().document(), "schema": f"peftscope.{self.command}/1"}

    def _content(self) -> Mapping[str, Any]:
        records = [with_rate_source(record, self.tunings) for record in self.records]
        return {
            "runs": [r.model_dump(mode="json", by_alias=True, exclude={"examples", "curve"}) for r in records],
            "summary": [dict(row) for row in self.summary],
            "eliminated": eliminations_document(self.eliminations),
            "conditions": list(self.conditions),
            "fairness": None if self.fairness is None else fairness_document(self.fairness),
        }

    def _parts(self) -> Iterator[RenderableType]:
        metrics = known_metrics()
        yield from comparison_parts(self.summary, self.metric, metrics, title=self.title)
        for line in eliminated_lines(self.eliminations):
            yield Text(line, style="yellow")
        if self.conditions:
            how = "Ranked across different conditions, as asked" if self.across else "Not ranked together"
            for line in (f"{how}; what differs:", *(f"  {line}" for line in self.conditions)):
                yield Text(line, style="yellow")
        yield Text(interval_text(self.summary, self.finals, metrics))
        if self.fairness is not None:
            yield from fairness_parts(self.fairness)
        yield unbroken(f"Records: {self.folder}")
        if self.fairness is not None:
            place = shlex.quote(str(self.folder))
            yield unbroken(f"What to take: peftscope recommend {place}")
            yield unbroken(f"All of it: peftscope report {place}")


def _with_methods(warning: str, methods: list[str], num_methods: int) -> str:
    is_named = any(warning.startswith(f"{method}:") for method in methods)
    return warning if is_named or len(methods) == num_methods else f"{listed(methods)}: {warning}"


def comparison_of(
    records: Sequence[RunRecord],
    metric: MetricSpec,
    *,
    folder: Path,
    title: str,
    study: StudySpec | None = None,
    across: bool = False,
) -> Comparison:
    """Summarise runs.

    Args:
        records: Every run.
        metric: The task's score.
        folder: Where they lie.
        title: Of the study or the experiment.
        study: The study; None where one experiment was run by itself.
        across: Whether to rank different conditions together.
    """
    looks = race_looks(folder) if study is not None and study.race else ()
    standing = None if study is None else study_progress(study, {r.run_id: r for r in records}, looks)
    eliminations = () if standing is None else standing.eliminations
    tunings = () if standing is None else standing.tunings
    finals = [record for record in records if record.spec.purpose == "final"]
    return Comparison(
        command="run" if study is None else "compare",
        title=title,
        folder=folder,
        records=tuple(records),
        metric=metric,
        summary=tuple(
            summarise(
                frame_of(finals),
                examples_of(finals),
                base=BASE,
                metrics=known_metrics(),
                higher_is_better=metric.direction != "lower",
                across=across,
            )
        ),
        conditions=tuple(protocol_differences(finals)),
        fairness=None
        if study is None
        else fairness(records, tunings, study, traits=traits_by_name(), eliminated=runs_of(eliminations)),
        tunings=tuple(tunings),
        eliminations=eliminations,
        across=across,
    )
