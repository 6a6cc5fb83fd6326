"""What a study came to, gathered once for every command that tells of it: recommendation, report, comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.analysis.fairness import Fairness, fairness
from peftscope.analysis.traits import Traits
from peftscope.analysis.tuning import Tuning
from peftscope.analysis.verdict import Candidate, Pair, Verdict
from peftscope.errors import SpecError, StoreError
from peftscope.execution.status import is_under_way
from peftscope.schema.elimination import Elimination, renamed, runs_of
from peftscope.schema.metric import MetricSpec
from peftscope.schema.record import RunRecord
from peftscope.schema.study import StudySpec
from peftscope.store.files import read_record, read_records
from peftscope.store.looks import looks_of
from peftscope.store.race import race_looks
from peftscope.store.study import read_stored_study
from peftscope.study.folder import study_folder
from peftscope.study.metrics import example_count, known_metrics, measured_specs, score_spec
from peftscope.study.published import place_of
from peftscope.views.eliminated import eliminations_document
from peftscope.views.fitted_table import FittedTable
from peftscope.views.shown import Shown
from peftscope.views.table import TextTable
from peftscope.views.units import interval_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["StudyResults", "distinct_names", "results_of", "traits_by_name"]


@dataclass(frozen=True, kw_only=True, repr=False)
class StudyResults(Shown):
    """A study as its records tell it."""

    folder: Path
    name: str
    study: StudySpec | None
    """As it was run last; None for imported results and single runs."""
    records: tuple[RunRecord, ...]
    """Every run of the study, trials and failures among them."""
    runs: pd.DataFrame
    """One row per final run the verdict is on; ``method`` tells candidates apart."""
    examples: pd.DataFrame
    """One row per example of those."""
    metric: MetricSpec
    """What the score is."""
    metrics: tuple[MetricSpec, ...]
    """Every other quantity that was measured and has a better side."""
    verdict: Verdict
    tunings: tuple[Tuning, ...]
    fairness: Fairness
    differing: tuple[str, ...]
    """What differs between the conditions of the final runs."""
    notes: tuple[str, ...] = field(default=())
    """What was left out and why, what could not be read."""

    schema: ClassVar[str] = "results"

    def candidates(self) -> pd.DataFrame:
        """One row per candidate: score with its interval, gain over the base, tier, and the mean of every metric."""
        import pandas as pd

        return pd.DataFrame([_candidate_row(candidate) for candidate in self.verdict.candidates])

    def pairs(self) -> pd.DataFrame:
        """One row per two candidates: difference with its interval, adjusted p-values, verdict on the first."""
        import pandas as pd

        return pd.DataFrame([_pair_row(pair) for pair in self.verdict.pairs])

    def trials(self) -> pd.DataFrame:
        """One row per trial of tuning: learning rate, seed, settings, validation score and loss."""
        import pandas as pd

        rows = [{"method": tuning.method, **asdict(trial)} for tuning in self.tunings for trial in tuning.trials]
        return pd.DataFrame(rows)

    def curves(self) -> pd.DataFrame:
        """One row per point of a run's training curve: step, losses, learning rate, seconds of training."""
        import pandas as pd

        rows = [
            {"run_id": r.run_id, "method": r.spec.method.title, "seed": r.spec.seed, **asdict(point)}
            for r in self.records
            for point in r.curve
        ]
        return pd.DataFrame(rows)

    def _content(self) -> Mapping[str, Any]:
        return {
            "study": self.name,
            "folder": str(place_of(self.folder)),
            "metric": self.metric.model_dump(mode="json"),
            "candidates": [_candidate_row(candidate) for candidate in self.verdict.candidates],
            "pairs": [_pair_row(pair) for pair in self.verdict.pairs],
            "tiers": [list(tier) for tier in self.verdict.tiers],
            "eliminated": eliminations_document(self.verdict.eliminations),
            "notes": [*self.verdict.notes, *self.notes],
        }

    def _parts(self) -> Iterator[RenderableType]:
        yield Text(f"{self.name}: {self.metric.name}, {self.metric.window}", style="bold")
        percent = self.metric.unit == "share"
        cells = []
        for c in self.verdict.candidates:
            tier = "–" if c.tier is None else str(c.tier)
            score = "–" if c.score is None else interval_text(c.score.value, c.score.interval, percent=percent)
            gain = "–" if c.gain is None else interval_text(c.gain.value, c.gain.interval, percent=percent, signed=True)
            cells.append((c.method, tier, str(c.num_seeds), score, gain))
        headings = ("method", "tier", "seeds", self.metric.name, "gain over base")
        yield FittedTable(TextTable(title=self.name, headings=headings, cells=cells), rule=False)


def _candidate_row(candidate: Candidate) -> dict[str, Any]:
    score, gain = candidate.score, candidate.gain
    low, high = score.interval or (None, None) if score is not None else (None, None)
    gain_low, gain_high = gain.interval or (None, None) if gain is not None else (None, None)
    return {
        "method": candidate.method,
        "card": candidate.card,
        "learning_rate": candidate.learning_rate,
        "num_seeds": candidate.num_seeds,
        "tier": candidate.tier,
        "score": None if score is None else score.value,
        "score_low": low,
        "score_high": high,
        "gain": None if gain is None else gain.value,
        "gain_low": gain_low,
        "gain_high": gain_high,
        **{name: figure.mean for name, figure in candidate.metrics.items()},
    }


def _pair_row(pair: Pair) -> dict[str, Any]:
    low, high = pair.difference.interval or (None, None)
    return {
        "first": pair.first,
        "second": pair.second,
        "difference": pair.difference.value,
        "difference_low": low,
        "difference_high": high,
        "p_adjusted": pair.p_adjusted,
        "p_equivalent": pair.p_equivalent,
        "verdict": pair.verdict,
        "superiority": pair.superiority,
    }


def results_of(place: Path, *, margin: float | None = None, across: bool = False) -> StudyResults:
    """Gather what a study came to.

    Args:
        place: The study's folder or file, or a folder of imported results.
        margin: Difference of scores that does not matter, in the score's unit; None takes the default.
        across: Whether to judge runs of different conditions together.

    Raises:
        SpecError: There is no such study, or no method in it has the result of a final run.
        StoreError: No record can be read.
    """
    from peftscope.analysis.criteria import criteria_for
    from peftscope.analysis.protocols import protocol_differences
    from peftscope.analysis.study_verdict import judge
    from peftscope.methods.catalog import BASE
    from peftscope.store.frame import examples_of, frame_of

    folder = study_folder(place)
    notes: list[str] = []
    found = _readable(folder, notes)
    study = read_stored_study(folder, notes, then="every record in the folder is taken")
    if study is not None and place.is_file():
        notes += _changed_since(place, study)
    records, tunings, eliminations, to_come = _of_study(folder, study, found, notes)
    records = _of_one_task(records, notes)
    finals = [r for r in records if r.spec.purpose == "final"]
    if not any(r.status == "ok" and r.spec.learning_rate is not None for r in finals):
        raise SpecError(str(place), [_nothing(folder, records, finals, to_come)])
    judged = finals if across else _of_one_protocol(finals, notes)
    metric = score_spec(judged)
    names = distinct_names(judged)
    notes += _several_rates(judged, names)
    runs = frame_of(judged)
    runs["method"] = [names[run_id] for run_id in runs["run_id"]]
    runs["num_test_examples"] = example_count(judged)
    _spend_nothing_on(BASE, runs)
    metrics = measured_specs(runs)
    if across:
        runs["quality_protocol"] = None
    else:
        _blank_other_machines(runs, metrics, notes)
    examples = examples_of(judged)
    looks = None if study is None else looks_of(folder, study)
    criteria = replace(criteria_for(metric, margin=margin, looks=looks), eliminations=renamed(eliminations, names))
    return StudyResults(
        folder=folder,
        name=study.name if study else folder.resolve().name,
        study=study,
        records=tuple(records),
        runs=runs,
        examples=examples,
        metric=metric,
        metrics=metrics,
        verdict=judge(runs, examples, metric, base=BASE, tunings=tunings, criteria=criteria),
        tunings=tuple(tunings),
        fairness=fairness(records, tunings, study, traits=traits_by_name(), eliminated=runs_of(eliminations)),
        differing=tuple(protocol_differences(finals)),
        notes=tuple(notes),
    )


def traits_by_name() -> dict[str, Traits]:
    """What every method can do, from its card and from what was probed."""
    from peftscope.methods.catalog import cards
    from peftscope.methods.needs import fulfilled

    return {
        name: Traits(
            name=name,
            variant_of=card.variant_of,
            settings=card.config,
            knobs=card.knobs,
            optimizer=card.optimizer,
            starts_from_data=card.init is not None,
            changes_base=card.changes_base,
            abilities=fulfilled(name),
            targets=card.targets,
        )
        for name, card in cards().items()
    }


def distinct_names(records: Iterable[RunRecord]) -> dict[str, str]:
    """Run id -> name of the candidate it is a run of: its title, and as much more as tells it from others.

    Learning rates of one method are candidates of their own, and so are runs under different conditions, and
    runs of one seed: two of those are no two draws of the same thing.
    """
    records = list({record.run_id: record for record in records}.values())
    names = {record.run_id: record.spec.method.title for record in records}
    rate_texts = {r.run_id: f"lr {r.spec.learning_rate:g}" for r in records if r.spec.learning_rate is not None}
    conditions = {r.run_id: f"conditions {r.quality_protocol[:8]}" for r in records if r.quality_protocol}
    for texts in (rate_texts, conditions):
        several = _names_with_several(names, texts)
        names = {i: f"{name} {texts[i]}" if name in several and i in texts else name for i, name in names.items()}
    again = Counter((names[r.run_id], r.spec.seed) for r in records)
    twice = {name for (name, _), count in again.items() if count > 1}
    return {i: f"{name} run {i[:8]}" if name in twice else name for i, name in names.items()}


def _several_rates(judged: Sequence[RunRecord], names: Mapping[str, str]) -> list[str]:
    """A warning where the best of some learning rates is chosen by the very score that is shown."""
    apart = {r.spec.method.title for r in judged if " lr " in names[r.run_id].removeprefix(r.spec.method.title)}
    return [
        f"{title}: each learning rate is a candidate of its own, so that the best of them is chosen on the test split; "
        "with 'tuning' it would be chosen on validation"
        for title in sorted(apart)
    ]


def _names_with_several(names: Mapping[str, str], texts: Mapping[str, str]) -> set[str]:
    found: dict[str, set[str]] = {}
    for run_id, text in texts.items():
        found.setdefault(names[run_id], set()).add(text)
    return {name for name, different in found.items() if len(different) > 1}


def _readable(folder: Path, notes: list[str]) -> list[RunRecord]:
    try:
        return read_records(folder)
    except StoreError as error:
        first = error
    found = []
    for path in sorted((folder / "records").glob("[!.]*.json")):
        try:
            found.append(read_record(path))
        except StoreError as error:
            notes.append(f"left out: {error}")
    if not found:
        raise first
    return found


def _changed_since(file: Path, study: StudySpec) -> list[str]:
    """Whether the study's file says something else than what was run last."""
    from peftscope.execution.history import changes_between
    from peftscope.schema.reader import read_study
    from peftscope.study.vocabulary import vocabulary

    try:
        same = not changes_between(study, read_study(file, vocabulary()))
    except SpecError as error:
        return [f"{file} cannot be read by now; what was run last is told of: {error.problems[0]}"]
    return [] if same else [f"{file} has changed since it was run last; what was run last is told of"]


def _of_study(
    folder: Path, study: StudySpec | None, found: Sequence[RunRecord], notes: list[str]
) -> tuple[list[RunRecord], list[Tuning], tuple[Elimination, ...], str]:
    """Records the study asks for, what its tuning came to, what its race did, and what becomes of the rest."""
    is_running = is_under_way(folder)
    to_come = "it is under way" if is_running else "'peftscope compare' resumes it"
    if study is None:
        return list(found), [], (), to_come
    from peftscope.tuning.progress import study_progress

    try:
        standing = study_progress(study, {record.run_id: record for record in found}, race_looks(folder, notes))
    except SpecError as error:  # a method of another version
        notes.append(f"the study cannot be read by this version, so every record is taken: {error.problems[0]}")
        return list(found), [], (), to_come
    wanted = {run.run_id for run in standing.runs}
    records = [record for record in found if record.run_id in wanted]
    if len(records) < len(found):
        notes.append(f"{_runs(len(found) - len(records))} of a former form of the study left out")
    number = standing.scheduler.num_runs
    if is_running:
        to_come = f"under way: {len(records)} of {_runs(number)} done"
    if number > len(records):
        to_do = f"{_runs(number - len(records))} of the study still to do: 'peftscope compare' does them"
        notes.append(to_come if is_running else to_do)
    return records, standing.tunings, standing.eliminations, to_come


def _of_one_task(records: Sequence[RunRecord], notes: list[str]) -> list[RunRecord]:
    """Records of the task and model most final runs are of; scores of two tasks can never be ranked together."""

    def world(record: RunRecord) -> tuple[str, str]:
        return record.spec.task.name, record.spec.model.source

    counts = Counter(world(record) for record in records if record.spec.purpose == "final")
    if len(counts) < 2:
        return list(records)
    (kept, _), *others = counts.most_common()
    for (task, model), count in others:
        notes.append(f"{_runs(count)} of {task} on {model} left out: {kept[0]} on {kept[1]} has more")
    return [record for record in records if world(record) == kept]


def _of_one_protocol(finals: Sequence[RunRecord], notes: list[str]) -> list[RunRecord]:
    """Final runs under the commonest conditions of quality, and those that ended before they had any."""
    counts = Counter(r.quality_protocol for r in finals if r.quality_protocol is not None and r.status == "ok")
    if len(counts) < 2:
        return list(finals)
    (kept, number), *others = counts.most_common()
    left = sum(count for _, count in others)
    notes.append(
        f"{_runs(left)} under other conditions left out, {number} judged (conditions {str(kept)[:8]}); "
        "'peftscope report --across' takes them together"
    )
    return [r for r in finals if r.quality_protocol in (kept, None)]


def _spend_nothing_on(base: str, runs: pd.DataFrame) -> None:
    """The untouched base is a candidate like any other: its training takes no time or memory, and leaves no file."""
    for name in (metric.name for metric in known_metrics() if metric.limit is not None and metric.needs_training):
        if name in runs and runs[name].notna().any():
            runs.loc[(runs["card"] == base) & (runs["status"] == "ok"), name] = 0.0


def _blank_other_machines(runs: pd.DataFrame, metrics: Sequence[MetricSpec], notes: list[str]) -> None:
    """Leave out times and memory that were measured on another machine than most: they are not to be compared."""
    protocols = runs.loc[runs["status"] == "ok", "cost_protocol"].dropna()
    if protocols.nunique() < 2:
        return
    other = runs["cost_protocol"].notna() & (runs["cost_protocol"] != protocols.value_counts().index[0])
    names = [metric.name for metric in metrics if metric.protocol == "cost"]
    runs[names] = runs[names].astype(float)
    runs.loc[other, names] = float("nan")
    notes.append(f"times and memory of {_runs(int(other.sum()))} left out: taken under other conditions of cost")


def _nothing(folder: Path, records: Sequence[RunRecord], finals: Sequence[RunRecord], to_come: str) -> str:
    if not records and not is_under_way(folder):
        return f"no records in {folder / 'records'}; 'peftscope compare' makes them"
    finals = [r for r in finals if r.spec.learning_rate is not None]
    if not finals:
        trials = sum(r.spec.purpose == "trial" for r in records)
        ended = f"no method's final run has ended yet, only trials ({trials})" if trials else "no run has ended yet"
        return f"{ended}; {to_come}"
    reasons = Counter(f"{r.status}: {r.reason}" for r in finals)
    listed = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
    return f"none of its {len(finals)} final runs has a result: {listed}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
