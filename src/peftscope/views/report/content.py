"""What a report is made of, gathered before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from peftscope.analysis.front import Front
from peftscope.analysis.traits import Traits
from peftscope.analysis.tuning import Tuning
from peftscope.analysis.verdict import Verdict
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import RunRecord
from peftscope.views.report.samples import PictureTable

__all__ = ["ReportContent", "Topic"]


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A heading with lines under it; ``rows`` is a table whose first row is its headings."""

    title: str
    lines: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()

    @property
    def plain(self) -> dict[str, Any]:
        """The same as a document holds it."""
        return {"title": self.title, "lines": list(self.lines), "rows": [list(row) for row in self.rows]}


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything the page shows comes from here."""

    name: str
    place: str
    """Folder or file as the user wrote it, for the commands that repeat things."""
    options: str = ""
    """How the study was judged, as a command's options, each after a space."""
    records: Sequence[RunRecord]
    """Every run of the study, trials and failures among them."""
    verdict: Verdict
    metrics: Sequence[MetricSpec]
    """Metrics a front may be drawn over; the score is the verdict's own metric."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Run id -> candidate it is a run of, where that is not its title."""
    fronts: Sequence[Front] = ()
    """One for every two of these."""
    tunings: Sequence[Tuning] = ()
    pictures: Sequence[PictureTable] = ()
    """What runs left to look at, side by side."""
    recommendation: Sequence[Topic] = ()
    warnings: Sequence[str] = ()
    """Where methods differ in more than the method: shown first, and loud."""
    suspicions: Sequence[str] = ()
    """What speaks against taking the scores for learning."""
    data_notes: Sequence[str] = ()
    """What is odd about the data."""
    traits: Mapping[str, Traits] = field(default_factory=dict)
    """What every method can do, by its name."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Candidate -> folder of its best run's trained weights, as readers of the page find it."""
    choices: Mapping[str, Any] = field(default_factory=dict)
    """What limits can be set, and the answer under each."""
    fairness: Sequence[Topic] = ()
    conditions: Sequence[str] = ()
    """What differs between the protocols of the records."""
    notes: Sequence[str] = field(default=())
    """What could not be read or computed."""

    @property
    def is_foreign(self) -> bool:
        """Whether all its runs are of others."""
        return bool(self.records) and all(record.origin == "foreign" for record in self.records)
