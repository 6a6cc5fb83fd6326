"""What has changed since a study was run last, and what that makes of the records that are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from peftscope.errors import PeftscopeError
from peftscope.execution.launcher import FINISHED, is_finished
from peftscope.schema.difference import differences
from peftscope.schema.record import RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import StudySpec
from peftscope.store.files import existing_record
from peftscope.store.looks import add_look
from peftscope.store.race import add_race_look, race_looks, write_race_looks
from peftscope.store.study import read_stored_study, write_study
from peftscope.tuning.check_result import CheckResult
from peftscope.tuning.job import Job
from peftscope.tuning.progress import study_progress
from peftscope.tuning.racing import RaceHistory, races

__all__ = ["changes_between", "changes_of_study", "known_runs", "outdated", "race_history", "remember_study"]


def remember_study(folder: Path, study: StudySpec) -> None:
    """Keep the study beside its records, for later starts and for ``peftscope status``.

    Where its seeds are others than those of a former form that ended, that one's verdict counts as a look.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    before = read_stored_study(folder)
    if before is not None and before.seeds != study.seeds:
        could_be_judged = len(before.first_seeds) > 1 and _has_ended(folder, before)
        if could_be_judged:
            add_look(folder, before)
    write_study(folder, study)


def changes_of_study(folder: Path, study: StudySpec) -> list[str]:
    """What of a study's file has changed since its last run, and what that invalidates; nothing where nothing has."""
    before = read_stored_study(folder)
    if before is None:
        return []
    found = changes_between(before, study)
    if not found:
        return []
    records, looks = _records(folder), race_looks(folder)
    wanted = {run.run_id for run in study_progress(study, records, looks).runs}
    try:
        former = study_progress(before, records, looks).runs
    except PeftscopeError:  # of a method that is no longer there
        former = ()
    left = [run for run in former if run.run_id not in wanted and run.run_id in records]
    return [
        "the study has changed since it was run last:",
        *(f"  {line}" for line in found),
        f"  {_runs(len(left))} of the former study stay in {folder / 'records'} and are not part of this one"
        if left
        else "  every record there is still counts",
    ]


def changes_between(before: StudySpec, study: StudySpec) -> list[str]:
    """What differs between a study as it was run last and as it is now; whether it races only where that is said."""
    if "race" not in study.model_fields_set:
        study = study.model_copy(update={"race": before.race})
    return differences(_by_title(before), _by_title(study))


def race_history(folder: Path, study: StudySpec, quality_protocol: str, *, is_reading: bool) -> RaceHistory:
    """What earlier starts left of a study's race under the conditions that hold now.

    Args:
        folder: The study's.
        study: The study.
        quality_protocol: The conditions that hold now.
        is_reading: Whether to take and write nothing. Else looks under other conditions are given up, since what they
            saw is done again.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    if not races(study):
        return RaceHistory(keep=None)
    found = race_looks(folder)
    looks = tuple(look for look in found if look.quality_protocol == quality_protocol)
    if len(looks) < len(found) and not is_reading:
        write_race_looks(folder, looks)
    records = [record for record in _records(folder).values() if record.quality_protocol in (quality_protocol, None)]
    return RaceHistory(
        looks=looks,
        recorded={record.run_id: record.quality_protocol for record in records},
        finished=frozenset(r.run_id for r in records if is_finished(r, quality_protocol, Job(run=r.spec))),
        keep=None if is_reading else partial(add_race_look, folder),
    )


def outdated(runs: Sequence[RunSpec], folder: Path, checked: CheckResult) -> list[str]:
    """One line for each change of conditions (data, weights, …) because of which finished runs are done again.

    Args:
        runs: Those the study asks for, as far as they are known.
        folder: The study's.
        checked: The conditions that hold now.
    """
    reasons: Counter[str] = Counter()
    for run in runs:
        record = existing_record(folder, run.run_id)
        if record is None or record.status not in (*FINISHED, "eliminated"):
            continue
        if record.quality_protocol == checked.quality_protocol:
            continue
        before = record.protocol.quality if record.protocol is not None else {}
        reasons["; ".join(differences(before, checked.quality))] += 1
    return [
        f"{_runs(count)} done under other conditions start again; their figures stay under "
        f"{folder / 'superseded'}. What changed: {reason}"
        for reason, count in reasons.items()
    ]


def known_runs(folder: Path, study: StudySpec) -> Sequence[RunSpec]:
    """The runs a study asks for, as far as its records tell."""
    return study_progress(study, _records(folder), race_looks(folder)).runs


def _has_ended(folder: Path, study: StudySpec) -> bool:
    """Whether all its runs came to something, so that there was a verdict to read."""
    try:
        return not study_progress(study, _records(folder), race_looks(folder)).pending
    except PeftscopeError:  # of a method that is no longer there
        return False


def _records(folder: Path) -> dict[str, RunRecord]:
    ids = [path.stem for path in sorted((folder / "records").glob("[!.]*.json"))]
    return {run_id: record for run_id in ids if (record := existing_record(folder, run_id)) is not None}


def _by_title(study: StudySpec) -> dict[str, Any]:
    """The study with its methods by title, so that one more or less is told as such."""
    raw = study.model_dump(mode="json")
    return {**raw, "methods": {method.title: method.model_dump(mode="json") for method in study.methods}}


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
