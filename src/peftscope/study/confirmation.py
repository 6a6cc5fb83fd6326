"""The choice of a study run with fresh seeds, told by those alone: what no picking has touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peftscope.analysis.verdict import Candidate
from peftscope.errors import SpecError
from peftscope.schema.record import RunRecord
from peftscope.store.base_folder import base_folder
from peftscope.study.results import StudyResults
from peftscope.study.running import RunOptions, do_runs
from peftscope.tuning.job import Job
from peftscope.views.progress.reporter import Reporter

__all__ = ["Confirmed", "confirm"]

FOLDER = "confirmed"
"""Under the study's own: these runs are none of the study's."""


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """What fresh seeds of the choice came to."""

    choice: Candidate
    seeds: tuple[int, ...]
    fresh: Candidate
    """Of these seeds alone; its score has an interval of its own."""

    @property
    def document(self) -> dict[str, Any]:
        """As plain data."""
        score = self.fresh.score
        return {
            "method": self.choice.method,
            "seeds": list(self.seeds),
            "score": None if score is None else [score.value, score.low, score.high],
            "num_diverged": self.fresh.num_diverged,
        }


def confirm(found: StudyResults, choice: Candidate, count: int, reporter: Reporter) -> Confirmed:
    """Run the choice, a method that is trained, with seeds that neither the study nor its tuning used.

    Those that ran before are not run again.

    Raises:
        SpecError: Others ran it.
        PeftscopeError: Model or data are not as they were.
    """
    from peftscope.analysis.study_verdict import judge
    from peftscope.methods.catalog import BASE
    from peftscope.store.frame import examples_of, frame_of

    spec = next(r.spec for r in found.records if r.run_id in _runs_of(found, choice))
    if any(record.origin == "foreign" for record in found.records):
        raise SpecError(
            "recommend --confirm", ["results of others cannot be run again from here; run a study of your own"]
        )
    seeds = _fresh(found, count)
    jobs = [Job(run=spec.model_copy(update={"seed": seed})) for seed in seeds]
    folder = found.folder / FOLDER
    title = f"{found.name}, {choice.method} with fresh seeds"
    place = base_folder(found.folder)
    done = do_runs(jobs, folder, title=title, options=RunOptions(), reporter=reporter, base=place)
    records, metric = done.records, done.metric
    known = {record.quality_protocol for record in records}
    base = [r for r in found.records if r.spec.method.name == BASE and r.quality_protocol in known]
    together: list[RunRecord] = [*base, *records]
    verdict = judge(frame_of(together), examples_of(together), metric, base=BASE)
    return Confirmed(choice=choice, seeds=seeds, fresh=verdict.candidate(spec.method.title))


def _runs_of(found: StudyResults, choice: Candidate) -> set[str]:
    return set(found.runs.loc[found.runs["method"] == choice.method, "run_id"])


def _fresh(found: StudyResults, count: int) -> tuple[int, ...]:
    used = {record.spec.seed for record in found.records}
    if found.study is not None:
        used |= set(found.study.all_seeds)
    free = (seed for seed in range(len(used) + count) if seed not in used)
    return tuple(next(free) for _ in range(count))
