"""What has changed since a study was run last, and what that makes of the records that are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peftscope.errors import PeftscopeError
from peftscope.schema.difference import differences
from peftscope.schema.elimination import RaceLook
from peftscope.schema.record import FINISHED, RunRecord
from peftscope.schema.run import RunSpec
from peftscope.schema.study import StudySpec
from peftscope.store.files import existing_record, without_collector
from peftscope.store.looks import add_look
from peftscope.store.race import keeper_of_looks, race_looks, write_race_looks
from peftscope.store.study import read_stored_study, write_study
from peftscope.tuning.check_result import CheckResult
from peftscope.tuning.progress import finished_runs, study_progress
from peftscope.tuning.racing import RaceHistory

__all__ = [
    "EarlierRuns",
    "changes_between",
    "changes_of_study",
    "earlier_runs",
    "known_runs",
    "outdated",
    "race_history",
    "remember_study",
]


@dataclass(frozen=True, kw_only=True)
class EarlierRuns:
    """What earlier starts left in a study's folder."""

    folder: Path
    records: Mapping[str, RunRecord]
    """By run."""
    looks: Sequence[RaceLook] = ()
    """Of its race."""


def earlier_runs(folder: Path, notes: list[str] | None = None) -> EarlierRuns:
    """Read a study's records and looks, once for all who ask; records that are damaged are set aside.

    Args:
        folder: The study's.
        notes: Takes a line where the looks cannot be read, for a start that does not race.

    Raises:
        StoreError: A record cannot be read at all, or the looks cannot and there are no notes.
    """
    ids = [path.stem for path in sorted((folder / "records").glob("[!.]*.json"))]
    with without_collector():
        records = {run_id: record for run_id in ids if (record := existing_record(folder, run_id)) is not None}
    return EarlierRuns(folder=folder, records=records, looks=race_looks(folder, notes))


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


def changes_of_study(earlier: EarlierRuns, study: StudySpec) -> list[str]:
    """What of a study's file has changed since its last run, and what that invalidates; nothing where nothing has."""
    before = read_stored_study(earlier.folder)
    if before is None:
        return []
    found = changes_between(before, study)
    if not found:
        return []
    wanted = {run.run_id for run in known_runs(earlier, study)}
    try:
        former = known_runs(earlier, before)
    except PeftscopeError:  # of a method that is no longer there
        former = ()
    left = [run for run in former if run.run_id not in wanted and run.run_id in earlier.records]
    return [
        "the study has changed since it was run last:",
        *(f"  {line}" for line in found),
        f"  {_runs(len(left))} of the former study stay in {earlier.folder / 'records'} and are not part of this one"
        if left
        else "  every record there is still counts",
    ]


def changes_between(before: StudySpec, study: StudySpec) -> list[str]:
    """What differs between a study as it was run last and as it is now; whether it races only where that is said."""
    if "race" not in study.model_fields_set:
        study = study.model_copy(update={"race": before.race})
    return differences(_by_title(before), _by_title(study))


def race_history(earlier: EarlierRuns, study: StudySpec, quality_protocol: str, *, is_reading: bool) -> RaceHistory:
    """What earlier starts left of a study's race under the conditions that hold now.

    Args:
        earlier: What they left.
        study: The study.
        quality_protocol: The conditions that hold now.
        is_reading: Whether no look is to be taken and nothing written. Else looks under other conditions are removed
            from the folder, since whatever is still asked for of what they saw is made again.

    Raises:
        StoreError: The folder is not writable or the disk is full.
    """
    if not study.race:
        return RaceHistory()
    looks = tuple(look for look in earlier.looks if look.quality_protocol == quality_protocol)
    if len(looks) < len(earlier.looks) and not is_reading:
        write_race_looks(earlier.folder, looks)
    return RaceHistory(
        looks=looks,
        finished=finished_runs(r for r in earlier.records.values() if r.quality_protocol == quality_protocol),
        keep=None if is_reading else keeper_of_looks(earlier.folder, looks),
    )


def outdated(runs: Sequence[RunSpec], earlier: EarlierRuns, checked: CheckResult) -> list[str]:
    """One line for each change of conditions (data, weights, …) because of which finished runs are done again.

    Args:
        runs: Those the study asks for, as far as they are known.
        earlier: What earlier starts left.
        checked: The conditions that hold now.
    """
    reasons: Counter[str] = Counter()
    for run in runs:
        record = earlier.records.get(run.run_id)
        if record is None or record.status not in (*FINISHED, "eliminated"):
            continue
        if record.quality_protocol == checked.quality_protocol:
            continue
        before = record.protocol.quality if record.protocol is not None else {}
        reasons["; ".join(differences(before, checked.quality))] += 1
    return [
        f"{_runs(count)} done under other conditions start again; their figures stay under "
        f"{earlier.folder / 'superseded'}. What changed: {reason}"
        for reason, count in reasons.items()
    ]


def known_runs(earlier: EarlierRuns, study: StudySpec) -> Sequence[RunSpec]:
    """The runs a study asks for, as far as its records tell."""
    return study_progress(study, earlier.records, earlier.looks).runs


def _has_ended(folder: Path, study: StudySpec) -> bool:
    """Whether all its runs came to something, so that there was a verdict to read."""
    try:
        earlier = earlier_runs(folder, [])
        return not study_progress(study, earlier.records, earlier.looks).pending
    except PeftscopeError:  # of a method that is no longer there
        return False


def _by_title(study: StudySpec) -> dict[str, Any]:
    """The study with its methods by title, so that one more or less is told as such."""
    raw = study.model_dump(mode="json")
    return {**raw, "methods": {method.title: method.model_dump(mode="json") for method in study.methods}}


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
