"""A study's method at strengths between base and adapter: score against forgetting, and the strength to take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.analysis.strength_curve import StrengthCurve, curve_of
from peftscope.errors import SpecError, unknown_name
from peftscope.schema.amounts import number_of
from peftscope.schema.record import RunRecord
from peftscope.schema.request import Request
from peftscope.schema.strength import StrengthRecord
from peftscope.store.strengths import write_strength
from peftscope.study.at_strength import point_document
from peftscope.study.recommendation import recommendation_for
from peftscope.study.requirements import Amount, commonest_method
from peftscope.study.results import StudyResults, results_of
from peftscope.study.run_choice import OF_OTHERS
from peftscope.study.strengths import card_with_strengths, final_runs, known_point, measured_of
from peftscope.views.fitted_table import FittedTable
from peftscope.views.line import one_line
from peftscope.views.shown import Shown
from peftscope.views.strength import curve_picture, strength_lines, strength_table

__all__ = ["KEEP", "STRENGTHS", "Interpolation", "interpolate"]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
KEEP = 0.9


@dataclass(frozen=True, kw_only=True, repr=False)
class Interpolation(Shown):
    """A method from its base to its adapter, measured; shows itself."""

    results: StudyResults
    method: str
    curve: StrengthCurve
    runs: tuple[str, ...]
    """Ids of those whose adapters were measured."""
    missing: tuple[str, ...]
    """Ids of final runs whose adapter is not kept."""
    deviations: tuple[str, ...]
    """Where strength 0 or 1 did not give what the records of base and run say, to the last digit."""
    num_measured: int
    """Strengths of runs measured by this call; the others lay in the study's folder."""

    schema: ClassVar[str] = "interpolate"

    @property
    def has_problems(self) -> bool:
        """Whether adapters are missing, or an end of the curve is not what the records say."""
        return bool(self.missing or self.deviations)

    @property
    def strength(self) -> float | None:
        """The least strength that keeps the share of the gain that was asked for; None where none can be told."""
        return None if self.curve.strength is None else self.curve.strength.value

    def _content(self) -> Mapping[str, Any]:
        curve = self.curve
        return {
            "study": self.results.name,
            "folder": str(self.results.folder),
            "method": self.method,
            "metric": self.results.metric.model_dump(mode="json"),
            "runs": list(self.runs),
            "missing": list(self.missing),
            "num_test": curve.num_test,
            "num_valid": curve.num_valid,
            "gain_detectable": curve.is_gain_detectable,
            "strengths": [point_document(point) for point in curve.points],
            "keep": curve.keep,
            "chosen_on": "valid",
            "strength": None if curve.strength is None else curve.strength.value,
            "strength_interval": None if curve.strength is None else curve.strength.interval,
            "chosen": None if curve.chosen is None else point_document(curve.chosen),
            "exact": not self.deviations,
            "deviations": list(self.deviations),
            "num_measured": self.num_measured,
            "text": strength_lines(curve, self.results.metric, self.method),
        }

    def _parts(self) -> Iterator[RenderableType]:
        found, curve = self.results, self.curve
        seeds = "1 seed" if curve.num_seeds == 1 else f"{curve.num_seeds} seeds"
        yield Text(one_line(f"{found.name}: {self.method} between base (0) and adapter (1), {seeds}"), style="bold")
        yield FittedTable(strength_table(curve, found.metric), rule=False)
        for line in curve_picture(curve):
            yield Text(f"  {line}")
        yield Text("")
        for place, line in enumerate(strength_lines(curve, found.metric, self.method)):
            style = "green" if place == 0 and curve.chosen is not None else ""
            yield Text(f"  {one_line(line)}", style=style)
        if curve.num_seeds == 1:
            yield Text("  One seed: the intervals are over test examples alone, not over another training.")
        if not self.deviations:
            yield Text("  Strength 0 is the base and 1 the adapter, as their records have them, to the last digit.")
        for line in [*self._of_missing(), *self.deviations]:
            yield Text(f"  {one_line(line)}", style="yellow")

    def _of_missing(self) -> list[str]:
        if not self.missing:
            return []
        of = len(self.missing) + len(self.runs)
        return [f"The adapters of {len(self.missing)} of {of} seeds are not kept: {', '.join(self.missing)}."]


def interpolate(
    place: Path,
    request: Request,
    *,
    method: str | None = None,
    strengths: str | Iterable[Amount] = STRENGTHS,
    keep: Amount = KEEP,
    told: Callable[[str], None] = lambda line: None,
) -> Interpolation:
    """Measure a method's adapters at strengths between 0 and 1; what was measured before is read.

    Args:
        place: The study's folder or file.
        request: Collects what is wrong with the arguments, by the names they are given under.
        method: Candidate of the study; what is recommended where None.
        strengths: From 0 to 1, or with commas between; the ends are always taken.
        keep: Share of the gain that is to be kept.
        told: Called with a line for each stage.

    Raises:
        SpecError: An argument is wrong, there is no such study or method, or no adapter of it is kept.
        MethodRefused: There are no weights between base and adapter.
        ModelError: The base cannot be loaded, is quantized, or is not the one of the runs.
        DataError: The data are no longer those of the runs.
        StoreError: An adapter is damaged, or the folder is not writable.
    """
    wanted, share = _strengths(request, strengths), _share(request, keep)
    request.end()
    found = results_of(place)
    name = _method(found, method, request)
    runs = final_runs(found, name)
    kept = [record for record in runs if (found.folder / "adapters" / record.run_id).is_dir()]
    points, num_measured = _points(found, kept, wanted, told)
    if not points:
        kept_none = f"no adapter of {name} is kept in {found.folder / 'adapters'}; its runs made some"
        raise SpecError(str(place), [OF_OTHERS if runs[0].origin == "foreign" else kept_none])
    return Interpolation(
        results=found,
        method=name,
        curve=curve_of(measured_of(found, name, points), share),
        runs=tuple(points),
        missing=tuple(record.run_id for record in runs if record.run_id not in points),
        deviations=tuple(_deviations(found, runs, points)),
        num_measured=num_measured,
    )


def _points(
    found: StudyResults, kept: Sequence[RunRecord], wanted: Sequence[float], told: Callable[[str], None]
) -> tuple[dict[str, dict[float, StrengthRecord]], int]:
    """Every wanted strength of every run, read or measured; and how many were measured."""
    points: dict[str, dict[float, StrengthRecord]] = {}
    num_measured = 0
    for number, record in enumerate(kept, start=1):
        card_with_strengths(record)
        where = f"{record.spec.title} ({number} of {len(kept)})"
        known = {strength: known_point(found, record, strength) for strength in wanted}
        own = points[record.run_id] = {strength: point for strength, point in known.items() if point is not None}

        def done(point: StrengthRecord, own: dict[float, StrengthRecord] = own) -> None:
            write_strength(found.folder, point)
            own[point.strength] = point

        def tell(line: str, where: str = where) -> None:
            told(f"{where}: {line}")

        missing = [strength for strength in wanted if strength not in own]
        if missing:
            from peftscope.study.strength_measuring import measure_strengths

            measure_strengths(record, found.folder, missing, done=done, told=tell)
            num_measured += len(missing)
    return points, num_measured


def _strengths(request: Request, given: str | Iterable[Amount]) -> list[float]:
    """Strengths in order, with both ends."""
    parts: Iterable[Amount] = [p for p in given.split(",") if p.strip()] if isinstance(given, str) else given
    found = {0.0, 1.0}
    for part in parts:
        value = request.amount("strengths", part, number_of)
        if value is None:
            continue
        if not 0.0 <= value <= 1.0:
            request.note("strengths", f"{part}: must be from 0 (the base) to 1 (the adapter)")
        found.add(float(value))
    return sorted(found)


def _share(request: Request, given: Amount) -> float:
    value = request.amount("keep", given, number_of)
    if value is not None and not 0.0 < value <= 1.0:
        request.note("keep", f"{given}: must be a share above 0 % and at most 100 %, such as 90%")
    return KEEP if value is None else float(value)


def _method(found: StudyResults, method: str | None, request: Request) -> str:
    """The candidate that is meant."""
    trained = [c.method for c in found.verdict.candidates if not c.is_base and c.score is not None]
    if method is not None:
        if method not in trained:
            request.note("method", unknown_name("method", method, trained))
        request.end()
        return method
    choice = recommendation_for(found, have=commonest_method()).choice
    if choice is None or choice.is_base:
        request.note("method", f"nothing that is trained is recommended; name one of {', '.join(trained)}")
        request.end()
    assert choice is not None
    return choice.method


def _deviations(
    found: StudyResults, runs: Sequence[RunRecord], points: Mapping[str, Mapping[float, StrengthRecord]]
) -> Iterator[str]:
    """Where an end of the curve is not what the record says."""
    base = next((c.method for c in found.verdict.candidates if c.is_base), None)
    of_base = [] if base is None else final_runs(found, base)
    by_id = {record.run_id: record for record in runs}
    for run_id, own in points.items():
        record = by_id[run_id]
        pairs = [(1.0, record), *((0.0, base_record) for base_record in of_base[:1])]
        for strength, known in pairs:
            differs = _difference(known, own[strength])
            if differs:
                yield (
                    f"Strength {strength:g} of seed {record.spec.seed} is not its record's to the last digit: "
                    f"{differs} (another machine, version or adapter)."
                )


def _difference(record: RunRecord, point: StrengthRecord) -> str:
    """What differs, in words; empty where nothing does."""
    before = {(e.example_id, e.draw): e.score for e in record.examples}
    now = {(e.example_id, e.draw): e.score for e in point.test}
    parts = []
    if before:
        changed = sum(before.get(key) != score for key, score in now.items()) + len(before.keys() - now.keys())
        parts += [f"{changed} of {len(now)} test scores"] if changed else []
    for name, value in point.metrics.items():
        known = record.metrics.get(name)
        if known is not None and known != value:
            parts.append(f"{name} {value!r}, not {known!r}")
    return ", ".join(parts)
