"""The documents a page shows of a study: its runs, the verdict on them, one run, an answer under limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import peftscope
from peftscope.analysis.within_limits import Limits
from peftscope.errors import SpecError
from peftscope.methods.needs import NEEDS
from peftscope.schema.amounts import signed_number_of
from peftscope.schema.request import Request
from peftscope.store.files import read_record, record_path
from peftscope.store.rows import RowReader
from peftscope.store.study import read_stored_study
from peftscope.study.choices import answer_under, needing
from peftscope.study.folder import study_folder
from peftscope.study.published import is_published, published_about, published_key, published_name
from peftscope.study.report import material
from peftscope.study.requirements import Amount, Requirements
from peftscope.study.results import StudyResults, results_of
from peftscope.study.run_documents import run_document, runs_document, state_of
from peftscope.views.report.data import report_data

__all__ = ["StudyDocuments", "index_document"]


@dataclass
class StudyDocuments:
    """What a page asks of one study; each document is made anew from its folder.

    Raises:
        SpecError: There is no such study, or it has no result yet.
        StoreError: A record cannot be read.
    """

    place: Path
    """The study's folder or file, for commands on the page."""
    _name: str | None = field(default=None, repr=False)
    """As it was read last."""
    _reader: RowReader | None = field(default=None, repr=False)
    _judged: tuple[str, StudyResults] | None = field(default=None, repr=False)
    _judging: Lock = field(default_factory=Lock, repr=False)

    @property
    def folder(self) -> Path:
        """Where its records lie."""
        return study_folder(self.place)

    @property
    def name(self) -> str:
        """Its name; where its folder is gone, the one it had."""
        if is_published(self.place):
            return published_name(self.place)
        try:
            folder = self.folder
        except SpecError:
            if self._name is None:
                raise
            return self._name
        study = read_stored_study(folder)
        self._name = study.name if study is not None else folder.resolve().name
        return self._name

    @property
    def key(self) -> str:
        """What it is called in addresses."""
        return published_key(self.place) if is_published(self.place) else self.name

    @property
    def published(self) -> dict[str, Any] | None:
        """Task and release, where it is one of the public benchmark's."""
        return published_about(self.place) if is_published(self.place) else None

    def problem(self) -> str | None:
        """Why nothing of it can be read any more; None where it can, or is written once it is asked for."""
        if is_published(self.place):
            return None
        try:
            self.folder  # noqa: B018  raises where it is gone
        except SpecError as error:
            return error.problems[0] if self.place.exists() else f"the folder {self.place} is gone"
        return None

    def state(self) -> str:
        """A word that changes when records come, go or change, and when a process begins or ends to run it."""
        return state_of(self.folder)

    def runs(self) -> dict[str, Any]:
        """Every run with its figures and settings, read without judging them."""
        if self._reader is None:
            self._reader = RowReader(self.folder)
        return runs_document(self.folder, name=self.name, place=str(self.place), reader=self._reader)

    def study(self) -> dict[str, Any]:
        """The verdict, the fronts, the recommendation and all they rest on."""
        return report_data(material(self._results(), str(self.place)))

    def run(self, run_id: str) -> dict[str, Any]:
        """One run with its curve and answers."""
        folder = self.folder
        path = record_path(folder, run_id)
        if Path(run_id).name != run_id or run_id.startswith(".") or not path.is_file():
            raise SpecError(run_id, ["no such run in this study"])
        return run_document(read_record(path), folder, self.place)

    def choose(self, given: Mapping[str, str]) -> dict[str, Any]:
        """The answer under limits: amounts by quantity as numbers in its unit, and ``1`` for what is needed."""
        return answer_under(self._results(), _limits(given), self.folder)

    def _results(self) -> StudyResults:
        with self._judging:
            state = self.state()
            if self._judged is None or self._judged[0] != state:
                self._judged = state, results_of(self.place)
            return self._judged[1]


def _limits(given: Mapping[str, str]) -> Limits:
    """Limits as a page gives them.

    Raises:
        SpecError: There is no such quantity, or an amount is no number.
    """
    request = Request("limits")
    costs: dict[str, Amount | None] = {}
    for name, text in given.items():
        if name not in NEEDS:
            costs[name] = request.amount(name, text, signed_number_of)
    limits = Requirements(costs=costs).limits(request)
    request.end()
    return replace(needing({name: given.get(name) == "1" for name in NEEDS}), costs=limits.costs)


def index_document(studies: Mapping[str, StudyDocuments], *, live: bool, published: bool) -> dict[str, Any]:
    """What a page begins with: the studies there are, and whether a server makes the other documents.

    Args:
        studies: By the key that stands in addresses.
        live: Whether a server answers.
        published: Whether the releases of the public benchmark are compared.
    """
    listed: list[dict[str, Any]] = []
    for key, study in studies.items():
        about = {} if study.published is None else {"published": study.published}
        problem = study.problem()
        noted = {} if problem is None else {"note": problem}
        listed.append({"key": key, "name": study.name, "place": str(study.place), **about, **noted})
    about_page = {"version": peftscope.__version__, "live": live, "published": published, "shop": True}
    return {"studies": listed, **about_page}
