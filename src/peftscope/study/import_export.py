"""Records in and out: result files of the public benchmark read and written, CSV, Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from rich.text import Text

from peftscope.errors import SpecError
from peftscope.measures.registry import metric_specs
from peftscope.methods.adapter_config import method_name
from peftscope.methods.catalog import BASE
from peftscope.schema.record import RunRecord
from peftscope.schema.request import Request
from peftscope.store.files import ensure_folder, read_records, write_text
from peftscope.store.local_paths import without_local_paths
from peftscope.study.folder import RESULTS, study_folder
from peftscope.study.metrics import known_metrics
from peftscope.upstream.results_in import Imported, Names, read_upstream, store_imported
from peftscope.views.fitted_table import FittedTable
from peftscope.views.line import one_line
from peftscope.views.runs import run_failures, run_tables
from peftscope.views.shown import Shown
from peftscope.views.table import markdown_table

__all__ = ["Exported", "ImportedResults", "export_study", "import_results"]

LAYOUTS = ("upstream",)
STDOUT = Path("-")


@dataclass(frozen=True, kw_only=True, repr=False)
class ImportedResults(Shown):
    """What others published, as records that say whose they are."""

    found: Imported
    folder: Path
    """Where the records lie now."""
    num_written: int
    """Those that were not there already."""

    schema: ClassVar[str] = "import-results"

    @property
    def warnings(self) -> list[str]:
        """What was skipped, and what the records warn of."""
        return [*self.found.skipped, *(line for record in self.found.records for line in record.warnings)]

    def _content(self) -> Mapping[str, Any]:
        found, left_out = self.found, {"examples", "curve", "foreign"}
        return {
            "folder": str(self.folder),
            "num_records": len(found.records),
            "num_written": self.num_written,
            "counts": found.counts,
            "skipped": found.skipped,
            "runs": [r.model_dump(mode="json", by_alias=True, exclude=left_out) for r in found.records],
        }

    def _parts(self) -> Iterator[RenderableType]:
        found = self.found
        for table in run_tables(found.records, known_metrics(), narrow=True):
            yield Text(table.title, style="bold")
            yield FittedTable(table)
        for line in run_failures(found.records):
            yield Text(one_line(line), style="red")
        if any(record.single for record in found.records):
            yield Text(
                "One training each, no score per example: no intervals, and small gaps mean nothing. "
                "Runs are ranked under equal conditions only. 'res.' is reserved memory: the peak of training, "
                "or of the whole process where only that is known."
            )
        counts = ", ".join(f"{count} of {name}" for name, count in found.counts.items())
        news = "all there already" if self.num_written == 0 else f"{self.num_written} written"
        yield Text(f"{len(found.records)} records ({counts}), {news}: {self.folder}", overflow="ignore")


@dataclass(frozen=True, kw_only=True, repr=False)
class Exported(Shown):
    """What was written; texts that were asked for on stdout stand in ``printed``."""

    num_records: int
    num_finals: int
    folder: Path | None = None
    files: tuple[Path, ...] | None = None
    """Result files in the public benchmark's layout."""
    csv: Path | None = None
    markdown: Path | None = None
    printed: str = ""

    schema: ClassVar[str] = "export"

    def _content(self) -> Mapping[str, Any]:
        done: dict[str, Any] = {"num_records": self.num_records}
        if self.files is not None:
            done["files"] = [str(path) for path in self.files]
        places = {"csv": self.csv, "markdown": self.markdown}
        return {**done, **{name: str(path) for name, path in places.items() if path is not None}}

    def _parts(self) -> Iterator[RenderableType]:
        if self.files is not None:
            yield Text(f"wrote {len(self.files)} result files to {self.folder}")
        for path, count in ((self.csv, self.num_records), (self.markdown, self.num_finals)):
            if path not in (None, STDOUT):
                yield Text(f"wrote {count} runs to {path}")


def import_results(folder: str | Path, out: str | Path | None = None) -> ImportedResults:
    """Read result files of the public PEFT benchmark, or exported ones; a second import adds nothing.

    Args:
        folder: Of result files, or of such folders.
        out: For the records; ``results/NAME`` of the folder where None.

    Raises:
        DataError: There are none.
        StoreError: The folder is not writable.
    """
    folder = Path(folder)
    found = read_upstream(folder, Names(method_name=method_name, metrics=tuple(metric_specs())))
    place = Path(out) if out is not None else RESULTS / (folder.resolve().name or "imported")
    return ImportedResults(found=found, folder=place, num_written=store_imported(place, found.records))


def export_study(
    place: Path,
    request: Request,
    *,
    layout: str | None = None,
    to: Path | None = None,
    csv: Path | None = None,
    markdown: Path | None = None,
) -> Exported:
    """Write a study's records for other programs; trials, which have no result on the test split, in the CSV alone.

    Args:
        place: The study's folder or file.
        request: Collects what is wrong with what is asked.
        layout: Of the files in ``to``: ``upstream``.
        to: Folder for one file per run.
        csv: File with a row per run; ``-`` gives its text in ``printed``.
        markdown: File with the runs' tables; likewise.

    Raises:
        SpecError: Nothing is asked for, or there is nothing to export.
        StoreError: A record cannot be read, or a file not written.
    """
    if layout is not None:
        request.check("layout", "layout", layout, LAYOUTS)
        if to is None:
            request.note("layout", f"needs {request.option('to')} with a folder for the files")
    if to is None and csv is None and markdown is None and layout is None:
        names = [request.option(name) for name in ("to", "csv", "markdown")]
        request.problems.append(
            f"nothing asked for; give {names[0]} FOLDER, {names[1]} FILE or {names[2]} FILE (- prints)"
        )
    request.end()
    folder = study_folder(place)
    records = read_records(folder)
    if not records:
        raise SpecError(str(place), [f"no records in {folder / 'records'}: nothing to export"])
    finals = [record for record in records if record.spec.purpose == "final"]
    files, printed = None, []
    if to is not None:
        from peftscope.upstream.results_out import export_upstream

        # the benchmark has no entry for a model that nobody trained
        trained = [record for record in finals if record.origin == "foreign" or record.spec.method.name != BASE]
        files = tuple(export_upstream(trained, to))
    if csv is not None:
        from peftscope.store.tables import csv_of

        printed.append(_put(csv, csv_of(records)))
    if markdown is not None:
        printed.append(_put(markdown, without_local_paths(_markdown(finals))))
    return Exported(
        num_records=len(records),
        num_finals=len(finals),
        folder=to,
        files=files,
        csv=csv,
        markdown=markdown,
        printed="".join(printed),
    )


def _put(path: Path, text: str) -> str:
    """Write a text; what is to be printed is given back."""
    if path == STDOUT:
        return text
    ensure_folder(path.parent)
    write_text(path, text)
    return ""


def _markdown(records: list[RunRecord]) -> str:
    parts = [
        f"**{table.title}**\n\n{markdown_table(table)}" for table in run_tables(records, known_metrics(), narrow=False)
    ]
    failures = run_failures(records)
    if failures:
        parts.append("\n".join(f"- {line}" for line in failures))
    return "\n\n".join(parts) + "\n"
